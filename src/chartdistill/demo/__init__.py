"""The embedded demo: synthetic charts with gold, and the two models trained on such charts."""
