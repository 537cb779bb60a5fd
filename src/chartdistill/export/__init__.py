"""A trained student taken away: as a merged model, as GGUF, for Ollama, or as an adapter for vLLM.

The verb is export.py. Nothing is put under its final name before its answers were compared with those of the student as
it was trained (parity.py).
"""
