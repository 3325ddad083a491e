"""Uncertainty of scores: intervals by bootstrap over images, and paired comparisons of two results."""

DRAWS = 1000
"""Draws behind a 95 % interval, unless others are asked for."""
