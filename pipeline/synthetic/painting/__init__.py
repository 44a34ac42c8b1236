"""Paints a face's skin, relief, wrinkles, eyes, brows, nose and mouth on a canvas, one part per module."""
