"""Contract tests for plugin authors."""
