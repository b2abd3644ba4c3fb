"""Model files, their subgraphs, execution providers and sessions."""
