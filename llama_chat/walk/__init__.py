"""A walk through a model on a text, step by step with its real numbers; plain data comes out.

`Walk` is asked for the steps of `steps.STEPS`; `lens` and `looks` answer what asks over all layers. All of it
belongs to the thread of its engine.
"""
