"""Metrics: one file a family, each tested against its official scorer."""
