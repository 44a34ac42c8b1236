"""The trainer: knows shards and run cards, not Snakemake."""
