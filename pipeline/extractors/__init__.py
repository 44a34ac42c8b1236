"""68 landmarks, one file per extractor; the file name is the name used in the config."""
