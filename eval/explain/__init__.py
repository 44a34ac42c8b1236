"""Why a network says what it says about any face: `python -m eval.explain`, `python -m eval.explain.app`."""
