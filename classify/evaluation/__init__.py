"""How good a head is: metrics, intervals, baselines, comparisons, the learning curve, label issues and warnings."""
