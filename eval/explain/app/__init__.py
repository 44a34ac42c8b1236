"""A page that explains faces in a browser: `python -m eval.explain.app --checkpoint FILE`."""
