"""Where a token of a reply looked: a list below the chat, and shades in it."""
