"""The heads: their kinds, the search over them, fitting, solver and streaming."""
