"""Runs compared face by face: `python -m eval.compare`."""
