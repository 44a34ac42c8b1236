"""Whether a network uses what its maps show: `python -m eval.faithfulness`."""
