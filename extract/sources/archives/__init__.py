"""Tar archives: their members, and the images among them."""
