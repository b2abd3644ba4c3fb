"""Bytes of an image to uint8 (H, W, 3), in this process or in an isolated worker."""
