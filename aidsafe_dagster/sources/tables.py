"""Names of the tables that ingestion writes."""

INGESTED = "ingested"
"""Sealed batches of prompts."""
COPIES = "sealed_copies"
"""A second copy of each sealed batch, from which a damaged one is restored."""
DROPPED = "dropped_prompts"
"""Rows that no batch took, with the reason."""
