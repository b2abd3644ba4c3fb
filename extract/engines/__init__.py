"""What runs a model over images: threads of this process, the tail of a cut network, or a Ray cluster."""
