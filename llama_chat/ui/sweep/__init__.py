"""The screen of a sweep: one prompt under a row of settings, side by side."""
