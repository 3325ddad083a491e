"""Uncertainty of scores: intervals by bootstrap over images, and paired comparisons of two results."""
