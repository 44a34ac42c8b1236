"""From shards to batches on the device: faces, their AU maps, and what is done to both."""
