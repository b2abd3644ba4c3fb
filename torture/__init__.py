"""Faults injected on purpose and counted: kills, full or failing disks, power cuts, flipped bits, bad images."""
