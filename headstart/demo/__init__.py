"""The demo's pictures, drawn so that it needs no data and no network."""
