"""The decode step, compiled ahead of time: what one new token needs, without dispatch and guards.

One layer (`layer`) and the output product (`head`) are compiled, not the network: that is sooner done, and
the same code serves every layer, every length of the cache and every model of these sizes, since the weights
stay the network's own. It is made once by a child process (`build`), kept in the cache folder (`shelf`), and
loaded without a compiler (`step`).
"""
