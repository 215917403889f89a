"""Roles as a system exports them: what they have in common, what is wrong with them, and policies in their place."""
