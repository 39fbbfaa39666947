"""The loop closed: the trained adapter speaks in the next generation, on the same prompts."""
