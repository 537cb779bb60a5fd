"""TODO lexica."""
