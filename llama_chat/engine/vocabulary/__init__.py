"""Text to token ids and back, whatever file the vocabulary came in."""
