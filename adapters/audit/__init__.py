"""The audit trail: the journal, its verification and search."""
