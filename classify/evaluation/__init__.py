"""How good a head is: metrics, intervals, comparisons, the learning curve, label issues and warnings."""
