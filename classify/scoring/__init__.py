"""Predictions of images and stores, written as tables."""
