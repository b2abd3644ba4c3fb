"""Lists of images and columns of tables: how text is read, which column means what, and what a value means."""
