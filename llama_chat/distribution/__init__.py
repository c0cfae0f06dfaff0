"""One token's distribution as plain data: what the model said, what the settings made of it, in words."""
