"""What runs have left on disk, read back: predictions of single networks, scores of many runs."""
