"""Tasks: one file a kind of task, each a plugin."""
