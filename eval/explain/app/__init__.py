"""The page on which a face is explained in a browser: `python -m eval.explain.app --checkpoint FILE`."""
