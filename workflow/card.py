"""Write the card of one run, `run.yaml`, from the resolved settings that the workflow hands over."""

import argparse
import json
import os
from pathlib import Path

import yaml

from pipeline.errors import run
from train.config import Card


def to_json(card: Card) -> str:
    """One line with sorted keys: what Snakemake compares to see whether a run has changed."""
    return json.dumps(card.model_dump(mode="json"), sort_keys=True)


def write(text: str, out: Path) -> None:
    """Check a card and write it as YAML, whole or not at all."""
    card = Card.model_validate_json(text)
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    out.parent.mkdir(parents=True, exist_ok=True)
    with temporary.open("w", encoding="utf-8") as file:
        yaml.safe_dump(card.model_dump(mode="json"), file, sort_keys=False)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(out)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("card", help="the card as JSON")
    parser.add_argument("--out", type=Path, required=True, help="run.yaml to write")
    arguments = parser.parse_args()
    write(arguments.card, arguments.out)


if __name__ == "__main__":
    run(main)
