"""Experiments on gradients, states and theorems: `python -m comparisons.experiments NAME`."""
