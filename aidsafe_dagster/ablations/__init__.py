"""Experiments: what variants of the recipe brought on the same prompts, kept and reported."""
