"""The heads: their registry, search, fitting and solver."""
