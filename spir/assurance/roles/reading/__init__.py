"""An export as text, and what it says: columns, rows, people and roles, and what permissions are about."""
