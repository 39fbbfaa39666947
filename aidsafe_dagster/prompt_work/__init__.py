"""Prompts that cover the policies: what the dataset has of them, and new ones where it is thin."""
