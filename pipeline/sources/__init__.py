"""Datasets on disk, one file each; the file name is the name used in the config."""
