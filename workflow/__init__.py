"""Which runs exist and what each one needs; Snakemake says when and where."""
