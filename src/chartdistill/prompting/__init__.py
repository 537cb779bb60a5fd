"""TODO prompting."""
