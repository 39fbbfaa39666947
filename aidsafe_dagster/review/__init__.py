"""The human check: a blinded sample, the ratings of people, and their agreement with the judges."""
