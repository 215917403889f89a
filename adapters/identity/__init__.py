"""Who is it: tokens, certificates, AE titles, the directory of staff and systems."""
