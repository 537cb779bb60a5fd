"""TODO clinical."""
