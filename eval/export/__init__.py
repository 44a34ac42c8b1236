"""A network for other programs: `python -m eval.export` writes ONNX or a Hugging Face folder."""
