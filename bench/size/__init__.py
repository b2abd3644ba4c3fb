"""What many images, rows and shards cost in time and memory."""
