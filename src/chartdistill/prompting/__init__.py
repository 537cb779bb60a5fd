"""Record + question -> token ids, and answer text <-> items: the one place, used by label, train, evaluate, predict."""
