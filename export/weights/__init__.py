"""Where a backbone's weights come from: the package index (by pip), Keras, a file, or random initialisation."""
