"""What verbs do that takes more than one call: options in, a sentence out. `cli` says which verb calls what."""
