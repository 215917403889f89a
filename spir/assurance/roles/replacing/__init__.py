"""Policies in the place of roles: found, written, and compared with what they replace."""
