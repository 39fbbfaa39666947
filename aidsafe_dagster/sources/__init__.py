"""Sources of prompts: files and Hub datasets, read, checked, deduplicated and cut into batches.

Nothing here knows Dagster, and only `hub.py` reaches the network.
"""
