"""Where a backbone's weights come from: Keras' download, a file, or random initialisation."""
