"""Trained networks on disk: one file with all that using them needs."""
