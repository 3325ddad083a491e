"""Dataset sources: one file a dataset."""
