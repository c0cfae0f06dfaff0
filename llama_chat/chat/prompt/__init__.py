"""What goes into a prompt: files, pastes, commands and paths being completed, what was said before."""
