"""Everything that needs torch: what is read from disk, the networks, and the one loop that generates."""
