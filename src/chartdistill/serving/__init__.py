"""`serve`: a trained student behind HTTP, for programs that read charts every day. The verb is serve.py.

access.py       where it listens, and who may ask
admission.py    how many charts are in work at once, and when to come back
bodies.py       bytes of a request -> charts
guard.py        what every request passes first
app.py          what is answered at which address
lifetime.py     from the first request to the last, whatever ends it
"""
