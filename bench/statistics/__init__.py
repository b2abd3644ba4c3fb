"""Whether intervals cover what they promise, and fits agree with exact ones."""
