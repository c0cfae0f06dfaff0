"""The transformers engine: its models behind the `Network` seam, under our own loop, sampler and tokenizer.

transformers and accelerate are imported here and nowhere else, inside the functions that need them (1.8 s).
"""
