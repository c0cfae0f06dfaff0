"""The walk as a screen: steps, pictures, words."""
