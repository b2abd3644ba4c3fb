"""Heads of one affine layer, and how they are solved."""
