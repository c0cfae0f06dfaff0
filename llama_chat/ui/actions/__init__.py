"""What the keys and commands of the chat do, one mixin of its screen for each subject."""
