"""Several tokens from one forward: some are drafted, and those that the loop then chooses itself are kept."""
