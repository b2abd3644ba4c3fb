"""Faults on purpose, each counted: what a kill, a full or dying disk, a power cut or a flipped bit may never cost."""
