"""Faults of the disk: refused calls, power cuts and damaged bits."""
