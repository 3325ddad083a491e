"""The gate: whether a model got worse than a baseline that is kept in the user's repository."""
