"""The nouns: condition, request, decision, obligation, policy, facts. Import them from their modules."""
