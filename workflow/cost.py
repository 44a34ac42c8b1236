"""What the runs of a config will cost, from rates that `make bench` has measured: hours of the device, and disk."""

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
    """Write a line per dataset and network, and the sums; raise UserError if the file holds no such measurements.

    A training costs epochs * (faces + validation faces / 3) / rate; its prediction, twice (before any training and
    after), a third of a step for each test face. Runs that share a training cost it once. A GPU's rate at the nearest
    batch size is taken. Faithfulness, pictures and tables are left out.
    """
    table = _read(measured)
    rates, hours, unknown = _rates(table), defaultdict[tuple[str, str], float](float), Counter[str]()
    trainings = {training_card(one).digest(): one for one in (card(config, run) for run in grid(config))}
    for one in trainings.values():
        name = f"{one.model.backbone} at {one.model.image_size} px"
        faces, rate = _faces(config.datasets[one.dataset]), _rate(rates, one)
        if faces is None or rate is None:
            unknown[f"{name} on {one.dataset}" if faces else f"{one.dataset}, whose size nobody knows"] += 1
            continue
        hours[one.dataset, name] += _seconds(config, one, faces, rate) / 3600
    lines = [f"{dataset}: {name}: {spent:,.1f} h" for (dataset, name), spent in hours.items()]
    lines += [f"not measured, and left out: {count} trainings of {name}" for name, count in unknown.items()]
    lines.append(f"{len(trainings)} trainings of {len(grid(config))} runs, together {sum(hours.values()):,.1f} h")
    lines.append(f"on {table['device'].iloc[0]}: {table['machine'].iloc[0]}")
    return [*lines, *_disk(config, table, list(trainings.values()))]


def _read(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; `make bench` measures rates") from None
    except (ValueError, UnicodeDecodeError):
        raise UserError(f"{path} is no table of `make bench`") from None
    if not {"stage", "name", "value", "device", "machine"} <= set(table.columns):
        raise UserError(f"{path} is no table of `make bench`; it lacks columns of one")
    return table


def _rates(table: pd.DataFrame) -> Rates:
    rates: Rates = defaultdict(dict)
    for name, value in table.loc[table["stage"] == "training", ["name", "value"]].itertuples(index=False):
        if found := RATE.fullmatch(name):
            rates[found["backbone"], int(found["side"]), found["guidance"] == "with"][int(found["batch"])] = value
    if not rates:
        raise UserError("the table of `make bench` holds no rates of training; measure the stage training")
    return rates


def _rate(rates: Rates, one: Card) -> float | None:
    known = rates.get((one.model.backbone, one.model.image_size, one.guidance.weight > 0))
    wanted = math.log(one.training.batch_size)
    return known[min(known, key=lambda batch: abs(math.log(batch) - wanted))] if known else None


def _faces(dataset: Dataset) -> dict[str, int] | None:
    """Count the faces of each split, as generated or in the official release; None where neither is known."""
    if dataset.generate:
        people = {"train": dataset.generate.identities_train, "test": dataset.generate.identities_test}
        return {split: len(Expression) * dataset.generate.per_class * count for split, count in people.items()}
    found: Counter[str] = Counter()
    for (split, _), count in plugins.load("pipeline.sources", dataset.source).EXPECTED.items():
        found[split] += count
    return dict(found) or None


def _seconds(config: Config, one: Card, faces: dict[str, int], rate: float) -> float:
    held = round(config.validation.fraction * faces["train"]) if one.protocol == "heldout" else 0
    validated = held or faces["test"]
    epoch = faces["train"] - held + FORWARD * validated
    return (one.training.epochs * epoch + 2 * FORWARD * faces["test"]) / rate


def _disk(config: Config, table: pd.DataFrame, trainings: list[Card]) -> Iterator[str]:
    stored = table[table["stage"] == "disk"].set_index("name")["value"]
    for name in dict.fromkeys(one.dataset for one in trainings):
        dataset = config.datasets[name]
        faces = _faces(dataset)
        if faces is None or "faces shards" not in stored:
            continue
        each = (
            stored["faces shards"] * (dataset.crop / 256) ** 2 + stored["landmarks shards"] + stored["heatmaps shards"]
        )
        yield f"{name}: {sum(faces.values()) * each / 1e9:,.1f} GB of faces, landmarks and heatmaps"
    sizes = [stored.get(f"{one.model.backbone} checkpoint") for one in trainings]
    known = [2 * size for size in sizes if size is not None]
    yield f"checkpoints of {len(known)} trainings, best and last: {sum(known) / 1e3:,.1f} GB"
