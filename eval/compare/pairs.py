"""Runs that are compared face by face: what each says about every test face, and which belong together."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from au_guidance.expressions import Expression
from eval.metrics.baselines import SKILL
from eval.records.runs import OWN, Run
from eval.tables import layout
from eval.tables.kinds import MAPS
from pipeline.errors import UserError

SAME = ("backbone", "image_size", "resize", "codebook", "geometry")  # of two runs that are compared


@dataclass(frozen=True, eq=False)
class PerFaceScores:
    """A run and its numbers for each test face (n,): right answers and retrieved classes are 0 or 100, NaN: no map."""

    run: Run
    ids: NDArray[np.object_]
    expressions: NDArray[np.int64]
    values: dict[str, NDArray[np.float64]]
    baselines: dict[str, float] = field(default_factory=dict)  # of the skill, by kind of map

    @property
    def key(self) -> tuple[Any, ...]:
        """What two runs must share to be compared."""
        return self.run.dataset, self.run.method, self.run.protocol, self.run.seed


def load_per_face(run: Run) -> PerFaceScores:
    """Read a run's numbers for each of its test faces; raise UserError if there is no such file beside its scores."""
    path = run.path.with_name("images.csv")
    try:
        table = pd.read_csv(path, keep_default_na=False, na_values=[""], dtype={"id": str})
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; make it with python -m eval.score") from None
    missing = {"id", "expression", "correct"} - set(table.columns)
    if missing:
        raise UserError(f"{path} has no column {min(missing)}; make it again with python -m eval.score")
    cosines = [name for name in map(str, table) if name == "cam_cosine" or name.startswith("attention_cosine")]
    shares = [name for kind in MAPS if (name := f"{kind}_retrieval_true") in table]
    values = {"accuracy": 100 * table["correct"].to_numpy(np.float64)}
    values |= {name: table[name].to_numpy(np.float64) for name in cosines}
    values |= {name: 100 * table[name].to_numpy(np.float64) for name in shares}
    expressions = np.array([Expression.parse(name) for name in table["expression"]], dtype=np.int64)
    maps = run.scores.get("maps", {})
    baselines = {kind: maps[kind]["baselines"][SKILL] for kind in MAPS if maps.get(kind)}
    return PerFaceScores(run, table["id"].to_numpy(object), expressions, values, baselines)


Pair = tuple[PerFaceScores, PerFaceScores]


def pairs(runs: Sequence[PerFaceScores]) -> list[tuple[str, Pair]]:
    """Find for every guided run its plain run and its controls; say what each pair is against.

    Raises UserError if their faces or anything else that should be equal differ.
    """
    plain = {scores.key: scores for scores in runs if not scores.run.weight}
    comparisons = []
    for guided in sorted((scores for scores in runs if scores.run.weight and scores.run.map == OWN), key=_order):
        controls = [
            scores
            for scores in runs
            if scores.run.weight and scores.run.map != OWN and scores.key == guided.key
            and (scores.run.weight, scores.run.layers) == (guided.run.weight, guided.run.layers)
        ]  # fmt: skip
        others = [("plain", plain[guided.key])] if guided.key in plain else []
        others += sorted(
            ((scores.run.map, scores) for scores in controls), key=lambda control: [*layout.CONTROLS].index(control[0])
        )
        for against, before in others:
            check(before, guided)
            comparisons.append((against, (before, guided)))
    return comparisons


def _order(scores: PerFaceScores) -> tuple[Any, ...]:
    dataset, method, protocol, seed = scores.key
    return dataset, layout.rank(method), protocol, scores.run.weight, len(scores.run.layers), scores.run.layers, seed


def check(first: PerFaceScores, second: PerFaceScores) -> None:
    """Raise UserError if two runs are about different faces or differ in more than guidance, seed and training."""
    if not np.array_equal(first.ids, second.ids) or not np.array_equal(first.expressions, second.expressions):
        raise UserError(
            f"{first.run.path} and {second.run.path} are about different faces; run eval.predict on both again"
        )
    changed = [name for name in SAME if first.run.scores.get(name) != second.run.scores.get(name)]
    if changed:
        raise UserError(f"{first.run.path} and {second.run.path} differ in {changed[0]}, so they cannot be compared")
