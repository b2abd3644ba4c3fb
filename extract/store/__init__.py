"""The embedding store: its HDF5 format, shards, reading, writing, reuse, merging and remote copies."""
