"""A saved session watched again: the chat's screen with a player in the place of the prompt."""
