"""Predictions made by hand, for tests of what reads them."""

from pathlib import Path
from typing import Any

import numpy as np

from au_guidance.expressions import Expression
from eval.metrics.per_face import measure_faces
from eval.metrics.training_means import TrainingMeans
from eval.records.predictions import Predictions
from eval.score import scores_of
from pipeline.storage import shards
from train.card.schema import Card
from train.data.prepared import Prepared

WORDS = ("attribute_", "face", "step")  # how columns of words begin
NUMBERS = {"score", "landmark_quality"}


def score_run(
    predictions: Predictions, means: TrainingMeans | None = None, untrained: Predictions | None = None
) -> dict[str, Any]:
    """Measure all faces and return the scores of the run."""
    return scores_of(predictions, measure_faces(predictions, means, untrained))


class Constructed:
    """The test faces of a prepared dataset, for which a test makes up what a network answers."""

    def __init__(self, card: Card, mode: str | None = None) -> None:
        self.card, self.mode = card, mode
        prepared = Prepared(card.data.folder, card.heatmap)
        rows = np.flatnonzero((prepared.splits == "test") & prepared.readable)
        self.ids = prepared.ids[rows]
        self.expressions = prepared.expressions[rows].astype(np.int8)
        drawn = [prepared.heatmap(row) for row in rows]
        self.valid = np.array([heatmap is not None for heatmap in drawn])
        empty = np.zeros((224, 224), np.float32)
        self.heatmaps = np.stack([empty if heatmap is None else heatmap for heatmap in drawn])

    def right(self, wrong: int = 0) -> np.ndarray:
        """Logits that are right for all faces but the first `wrong` ones."""
        predicted = self.expressions.astype(int)
        predicted[:wrong] = (predicted[:wrong] + 1) % 7
        return np.eye(7, dtype=np.float32)[predicted]

    def write(self, path: Path, **columns: Any) -> Path:
        """Write a predictions file; columns such as logits, cam, attention_5 and attribute_gender are the test's."""
        logits = columns.pop("logits", self.right())
        words = {name: np.asarray(columns.pop(name), object) for name in list(columns) if name.startswith(WORDS)}
        numbers = {name: np.asarray(columns.pop(name), np.float32) for name in NUMBERS & columns.keys()}
        maps = {name: np.asarray(values, np.float16) for name, values in columns.items()}
        shards.write(
            path,
            {
                "id": self.ids,
                "expression": self.expressions,
                "valid": self.valid,
                "logits": logits,
                **words,
                **numbers,
                **maps,
            },
            card=self.card.model_dump_json(),
            checkpoint="c0ffee",
            commit="abc123",
            **({} if self.mode is None else {"mode": self.mode}),
        )
        return path

    def of_class(self, expression: Expression) -> np.ndarray:
        """Rows of an expression that have a heatmap."""
        return self.valid & (self.expressions == expression)
