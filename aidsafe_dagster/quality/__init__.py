"""Quality checks: the row gate, the partition gate, and the figures behind both."""
