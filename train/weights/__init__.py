"""Pretrained weights: fetched into a folder, read without running code, put into networks."""
