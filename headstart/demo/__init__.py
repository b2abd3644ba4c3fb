"""Pictures for the demo, drawn so that it needs no data and no network."""
