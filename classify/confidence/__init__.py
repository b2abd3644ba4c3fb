"""Calibrated probabilities, and the detection of unknown images."""
