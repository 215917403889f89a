"""How policies are written: parsers, printer, vocabulary, documents."""
