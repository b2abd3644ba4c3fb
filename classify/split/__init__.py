"""The split into rows to train on and rows to evaluate on: hold-out, folds and duplicates."""
