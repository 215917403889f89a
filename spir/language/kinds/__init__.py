"""One module for each kind of document: from its form to what it means, and its schema."""
