"""The engine against other decision engines: the same policies, the same requests, one run."""
