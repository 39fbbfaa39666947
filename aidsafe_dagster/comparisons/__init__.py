"""Two policy versions, models or settings on the same prompts: `aidsafe compare`."""
