"""A seeded mix of faults over several batches, and a comparison with a run without any."""
