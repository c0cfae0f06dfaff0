"""A walk through the model, as a chat asks for it: where one is, what is asked of the engine; no screen."""
