"""Names: drugs and their ingredients, conditions, tests, specialties; and made-up drugs."""
