"""The next token of a reply that waits for its user."""
