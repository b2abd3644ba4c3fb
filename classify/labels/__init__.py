"""Labels, groups, times and conditions from outside of a store: joined to its rows, without writing to it."""
