"""Files on disk: shards of HDF5, pictures, and writing that is done whole or not at all."""
