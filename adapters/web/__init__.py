"""The HTTP server under what speaks HTTP: one, with bounds, for every listener. Below the sibling adapters."""
