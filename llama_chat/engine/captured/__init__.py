"""The decode step on NVIDIA's and AMD's GPUs as a recorded graph: one launch instead of many hundreds.

`recording` records work on tensors that stay where they are, `step` keeps a graph for each length that is
attended to, `static_step` is the computation. What runs is the network's own modules: nothing is compiled.
"""
