"""The two engines held against each other on the same weights: figures, bounds, a verdict."""
