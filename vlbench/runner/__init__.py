"""What executes an evaluation: plan, engine, journal, results."""
