"""The measurements behind every figure that we quote: `make bench`."""
