"""What is chosen for the replies: presets, seeds, personas."""
