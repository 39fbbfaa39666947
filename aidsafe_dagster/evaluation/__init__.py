"""Safety evaluation: models under test, benchmarks, and the shares that the answers add up to."""
