"""Explain single faces: `python -m eval.explain` for files, `python -m eval.explain.app` in a browser."""
