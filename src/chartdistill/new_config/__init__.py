"""`init`: a config of the user's own, from five answers. answers.py: the questions, and what may be said to them.
config_text.py: a shipped config with these answers in it, its comments kept. init.py, the verb: asks, writes, looks."""
