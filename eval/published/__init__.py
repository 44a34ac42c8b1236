"""The authors' released checkpoints in this project's form: `python -m eval.published`."""
