"""The tokens of messages: what was chosen, out of what, behind which ids; without a screen."""
