"""One prompt under a row of settings: what is varied, what comes of each, in figures; no torch, no screen."""
