"""The embedded procedural benchmark."""
