"""``make bench-heads``: speed and quality of heads; one file per table, and `run` prints them."""
