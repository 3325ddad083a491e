"""The leaderboard: store and tables."""
