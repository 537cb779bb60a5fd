"""People look at labels, read held-out charts and try the student, in a page of this machine. See `server.py`."""
