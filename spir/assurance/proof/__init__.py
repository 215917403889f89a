"""Sets of requests, exactly: what a condition is surely true for, and what is left of it after another."""
