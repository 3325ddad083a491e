"""Model adapters: one file a family of models, each a plugin."""
