"""Write the card of one run, `run.yaml`, from the resolved settings that the workflow hands over."""

import argparse
from pathlib import Path

import yaml

from pipeline.errors import run
from pipeline.storage.files import write_text
from train.card.schema import Card


def write(text: str, out: Path) -> None:
    """Check a card and write it as YAML, whole or not at all."""
    card = Card.model_validate_json(text)
    write_text(out, yaml.safe_dump(card.model_dump(mode="json"), sort_keys=False))


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("card", help="the card as JSON")
    parser.add_argument("--out", type=Path, required=True, help="run.yaml to write")
    arguments = parser.parse_args()
    write(arguments.card, arguments.out)


if __name__ == "__main__":
    run(main)
