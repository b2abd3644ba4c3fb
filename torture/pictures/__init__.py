"""Difficult files and entries of an image folder, and fuzzed images."""
