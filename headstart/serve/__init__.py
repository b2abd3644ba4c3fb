"""A classifier as an HTTP server: images in, JSON out. It needs the extra `serve`."""
