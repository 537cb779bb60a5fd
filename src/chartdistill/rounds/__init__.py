"""Rounds: the student becomes the teacher of what was rejected. The verb is in rounds.py."""
