"""The best rows of a dataset: above a floor, of different meanings, balanced, hard ones first."""
