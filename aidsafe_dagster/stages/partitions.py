"""Batches: the partitions of every asset from `prompts` to `fine_tune_splits`.

A batch is made by ingestion and never changes: small enough to be the unit of a run, of a retry and
of a gate.
"""

import dagster as dg

batches = dg.DynamicPartitionsDefinition(name="batches")
