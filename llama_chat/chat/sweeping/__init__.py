"""A sweep as a chat asks for it: from which message, under which settings; no screen."""
