"""The generator of drawn faces, `python -m pipeline.synthetic`; `pipeline/sources/synthetic.py` reads its files."""
