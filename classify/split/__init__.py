"""Which rows train and which judge: hold-out, folds and duplicates."""
