"""Estimate what the runs of a config cost, hours and disk, from rates that `make bench` has measured."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from au_guidance.expressions import Expression
from pipeline import plugins
from pipeline.errors import UserError
from train.card.checks import training_card
from train.card.schema import Card
from workflow.grid import card, grid
from workflow.schema import Config, Dataset

RATE = re.compile(r"(?P<backbone>\S+) at (?P<side>\d+) px, batch (?P<batch>\d+), (?P<guidance>with|without) AU")
FORWARD = 1 / 3  # of a training step: the backward pass costs twice the forward pass

Rates = dict[tuple[str, int, bool], dict[int, float]]  # backbone, side, guided -> batch size -> images per second


def estimate(config: Config, measured: Path) -> list[str]:
    """Return a line per dataset and network, and the sums; raise UserError if the file holds no such measurements.

    Training takes epochs * (training faces + validation faces / 3) / rate seconds; both predictions, before and after
    training, take a third of a training step per test face. A training that several runs share counts once. The rate is
    the one measured at the nearest batch size. Faithfulness, figures and tables are left out.
    """
    table = _read(measured)
    rates, hours, unknown = _rates(table), defaultdict[tuple[str, str], float](float), Counter[str]()
    trainings = {training_card(own).digest(): own for own in (card(config, run) for run in grid(config))}
    for training in trainings.values():
        name = f"{training.model.backbone} at {training.model.image_size} px"
        faces, rate = _faces(config.datasets[training.dataset]), _rate(rates, training)
        if faces is None or rate is None:
            unknown[f"{name} on {training.dataset}" if faces else f"{training.dataset}, a dataset of unknown size"] += 1
            continue
        hours[training.dataset, name] += _seconds(config, training, faces, rate) / 3600
    lines = [f"{dataset}: {name}: {spent:,.1f} h" for (dataset, name), spent in hours.items()]
    lines += [f"left out, as not measured: {count} trainings of {name}" for name, count in unknown.items()]
    lines.append(f"{len(trainings)} trainings of {len(grid(config))} runs, together {sum(hours.values()):,.1f} h")
    lines.append(f"on {table['device'].iloc[0]}: {table['machine'].iloc[0]}")
    return [*lines, *_disk(config, table, list(trainings.values()))]


def _read(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; `make bench` writes it") from None
    except (ValueError, UnicodeDecodeError):
        raise UserError(f"{path} is not a table of `make bench`") from None
    if not {"stage", "name", "value", "device", "machine"} <= set(table.columns):
        raise UserError(f"{path} is not a table of `make bench`: columns are missing")
    return table


def _rates(table: pd.DataFrame) -> Rates:
    rates: Rates = defaultdict(dict)
    for name, value in table.loc[table["stage"] == "training", ["name", "value"]].itertuples(index=False):
        if match := RATE.fullmatch(name):
            rates[match["backbone"], int(match["side"]), match["guidance"] == "with"][int(match["batch"])] = value
    if not rates:
        raise UserError("the table of `make bench` holds no rates of training; measure its stage training")
    return rates


def _rate(rates: Rates, training: Card) -> float | None:
    known = rates.get((training.model.backbone, training.model.image_size, training.guidance.weight > 0))
    wanted = math.log(training.training.batch_size)
    return known[min(known, key=lambda batch: abs(math.log(batch) - wanted))] if known else None


def _faces(dataset: Dataset) -> dict[str, int] | None:
    """Count the faces of each split, as generated or in the official release; None where neither is known."""
    if dataset.generate:
        people = {"train": dataset.generate.identities_train, "test": dataset.generate.identities_test}
        return {split: len(Expression) * dataset.generate.per_class * count for split, count in people.items()}
    counts: Counter[str] = Counter()
    for (split, _), count in plugins.load("pipeline.sources", dataset.source).EXPECTED.items():
        counts[split] += count
    return dict(counts) or None


def _seconds(config: Config, training: Card, faces: dict[str, int], rate: float) -> float:
    held_out, validated = 0, faces["test"]
    if training.protocol == "heldout":
        own = config.validation.split != "seeded" and "validation" in faces
        held_out = 0 if own else round(config.validation.fraction * faces["train"])
        validated = faces["validation"] if own else held_out
    epoch = faces["train"] - held_out + FORWARD * validated
    return (training.training.epochs * epoch + 2 * FORWARD * faces["test"]) / rate


def _disk(config: Config, table: pd.DataFrame, trainings: list[Card]) -> Iterator[str]:
    stored = table[table["stage"] == "disk"].set_index("name")["value"]
    for name in dict.fromkeys(training.dataset for training in trainings):
        dataset = config.datasets[name]
        faces = _faces(dataset)
        if faces is None or "faces shards" not in stored:
            continue
        per_face = (
            stored["faces shards"] * (dataset.crop / 256) ** 2 + stored["landmarks shards"] + stored["heatmaps shards"]
        )
        yield f"{name}: {sum(faces.values()) * per_face / 1e9:,.1f} GB of faces, landmarks and heatmaps"
    sizes = [stored.get(f"{training.model.backbone} checkpoint") for training in trainings]
    known = [2 * size for size in sizes if size is not None]
    yield f"checkpoints of {len(known)} trainings, best and last: {sum(known) / 1e3:,.1f} GB"
