"""Training of adapters on the fine-tune splits, in an environment of its own.

`run.py` describes how the two environments communicate.
"""
