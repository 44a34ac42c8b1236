"""Face box and five points, one file per detector; the file name is the name used in the config."""
