"""The tokens of a message, looked at one by one."""
