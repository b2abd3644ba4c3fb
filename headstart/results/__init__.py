"""How results are printed: for people, and as JSON."""
