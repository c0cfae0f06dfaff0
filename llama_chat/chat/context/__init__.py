"""What the context holds, and how the older part of a chat becomes a summary."""
