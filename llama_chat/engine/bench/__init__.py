"""Measuring a model on this machine: speed, memory, bandwidth, energy and quality. Gives plain data."""
