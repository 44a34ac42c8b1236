"""Figures: one module per kind, all in the style of `eval.drawing.style`."""
