"""What came out: predictions, scores, tables and pictures."""
