"""The three screens for newcomers: this machine, a model for it, the first words."""
