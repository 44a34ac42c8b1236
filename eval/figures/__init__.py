"""Scores and predictions to figures: `python -m eval.figures`; one module per kind, all in one style."""
