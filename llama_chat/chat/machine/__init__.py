"""What the model runs on, which model it is, and how a newcomer comes to one."""
