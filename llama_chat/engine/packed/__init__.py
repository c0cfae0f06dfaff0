"""Weights as they were built, kept in the cache folder and mapped from there the next time.

tree      modules <-> plain data and named tensors
file      one safetensors file of them, every byte of which is checked before it is believed
shelf     the folder: what is found, kept and thrown away
early     the file is read and checked while torch is still being imported
weights   the seam to `build_llama`: builders that remember what they made, or take it from a file
"""
