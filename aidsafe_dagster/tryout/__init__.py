"""Tryouts: the whole recipe on a few prompts, in seconds, without Dagster and without gates."""
