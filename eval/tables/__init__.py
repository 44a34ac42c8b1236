"""Scores to tables, with the paper's numbers beside ours: `python -m eval.tables`."""
