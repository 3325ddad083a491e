"""Pretraining and fine-tuning of the built-in models."""
