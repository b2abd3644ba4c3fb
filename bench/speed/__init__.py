"""How fast images become embeddings and answers, compared with other ways to do it."""
