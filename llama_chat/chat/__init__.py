"""The chat without a screen: what the user does, what the engine and the store tell, and how it is said."""
