"""What was seen inside a model, as plain data, and pictures of it: characters, SVG, HTML, JSON.

Needs the standard library alone. Layers, heads and positions count from 0 in the data, as the network has
them; what is shown counts layers and heads from 1, positions from 0 (RoPE multiplies by them).
"""
