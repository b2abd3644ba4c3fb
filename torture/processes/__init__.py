"""Faults of processes: kills, interrupts, two writers, and long runs."""
