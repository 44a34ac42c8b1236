"""Names of result files."""

from pathlib import Path


def beside(path: Path, suffix: str) -> Path:
    """Return the path of a result's other form: `tables/table1` and ".csv" give `tables/table1.csv`."""
    return path.with_name(path.name + suffix)
