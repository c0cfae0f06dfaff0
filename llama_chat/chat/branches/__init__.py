"""The tree in the chat: which message is meant, where the path forks, what becomes of it."""
