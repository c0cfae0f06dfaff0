"""What lies on the disk: the formats that weights come in, each read behind the `Checkpoint` seam."""
