"""Made-up runs, for tests of what reads scores: scores.json, images.csv and the grid of a configuration."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from au_guidance.expressions import SIX, Expression
from eval.metrics.baselines import BASELINES
from eval.metrics.names import DISCRIMINATION, LOCALISATION

LEVELS = {"uniform": 0.44, "class_agnostic": 0.76, "class_mean": 0.97, "untrained": None}


def maps(cosine: float = 0.5, **changes: Any) -> dict[str, Any]:
    """The scores of one kind of map; what nobody asks for is 0.25."""
    values: dict[str, Any] = {name: _triple(0.25) for name in (*DISCRIMINATION, *LOCALISATION)}
    values |= {name: _triple(value) for name, value in changes.items()}
    baselines = dict.fromkeys(BASELINES, 0.6) | LEVELS
    return {
        "cosine": _triple(cosine),
        **values,
        "retrieval_confusion": (np.eye(6, dtype=int) * 5).tolist(),
        "baselines": baselines,
        "skill": (cosine - 0.76) / 0.24,
    }


def _triple(value: float) -> dict[str, Any]:
    return {"macro": value, "micro": value, "per_class": {expression.label: value for expression in SIX}}


def scores(folder: Path, **changes: Any) -> Path:
    """Write the scores of a made-up run, `<n>/scores.json` below the folder."""
    made = {
        "dataset": "rafdb",
        "method": "cam",
        "variant": "plain",
        "weight": 0.0,
        "layers": [5],
        "map": "own",
        "seed": 0,
        "protocol": "heldout",
        "settings": "same",
        "card": "card",
        "images": 3068,
        "images_with_map": 2388,
        "accuracy": 0.8,
        "balanced_accuracy": 0.7,
        "macro_f1": 0.65,
        "cam_cosine": 0.5,
        "attention_cosine": {"4": 0.1, "5": 0.6},
        "calibration": {"ece": 0.05, "mce": 0.1, "nll": 0.7, "brier": 0.3, "bins": _bins()},
        "groups": {},
        "labels": [expression.label for expression in Expression],
        "confusion": (np.eye(7, dtype=int) * 9 + 1).tolist(),
        "per_class": {
            expression.label: {
                "images": 16,
                "recall": 10 / 16,
                "cam_cosine": 0.5,
                "attention_cosine": {"4": 0.1, "5": 0.6},
            }
            for expression in Expression
        },
    } | changes
    made.setdefault("maps", {"cam": maps(made["cam_cosine"] or 0.0), "attention": maps(made["attention_cosine"]["5"])})
    if made["cam_cosine"] is None:
        made["maps"].pop("cam", None)
    path = folder / str(len(list(folder.iterdir()))) / "scores.json"
    path.parent.mkdir()
    path.write_text(json.dumps(made))
    return path


def guided(folder: Path, **changes: Any) -> Path:
    """Write the scores of a made-up run with AU."""
    return scores(folder, **{"variant": "au", "weight": 5.0, "settings": "guided", "card": "guided"} | changes)


def _bins() -> list[dict[str, float]]:
    return [
        {
            "low": low / 10,
            "high": (low + 1) / 10,
            "images": 10 * low,
            "confidence": (low + 0.5) / 10,
            "accuracy": low / 10,
        }
        for low in range(10)
    ]


def grid(path: Path, *files: Path, **more: Any) -> Path:
    """Write a grid that expects the runs of some scores files, in one experiment, and `more` runs, folder=changes."""
    runs = {}
    for file in files:
        stored = json.loads(file.read_text())
        keys = ("dataset", "method", "variant", "weight", "layers", "map", "seed", "protocol", "card")
        runs[str(file.parent.name)] = {key: stored[key] for key in keys}
    first = next(iter(runs.values()))
    runs |= {folder: {**first, **changes} for folder, changes in more.items()}
    content = {"experiments": {"table1": {"kind": "table1", "runs": list(runs)}}, "runs": runs}
    path.write_text(json.dumps(content))
    return path


def images(path: Path, *, expressions: Sequence[str], right: Sequence[int], **columns: Sequence[Any]) -> None:
    """Write an images.csv beside a scores file; other columns are empty where an expression has no map."""
    valid = [int(name != "neutral") for name in expressions]
    table = {
        "id": [f"face{number}" for number in range(len(expressions))],
        "expression": expressions,
        "predicted": [name if good else "none" for name, good in zip(expressions, right, strict=True)],
        "correct": right,
        "valid": valid,
        **columns,
    }
    pd.DataFrame(table).to_csv(path.with_name("images.csv"), index=False)
