"""A made-up results folder to the contract of the report: runs, pictures, statuses and the grid that expects them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image

from au_guidance.expressions import SIX, Expression
from tests.support import scored
from train.weights import checksummed

EVIL = "<script>alert(1)</script>"  # a name that must stay a name


LABELS = [expression.label for expression in Expression]


PER_CLASS = 8


PLAIN, AU, SHUFFLED = ("plain", 0.0, "own"), ("au-w5-l5", 5.0, "own"), ("au-w5-l5-shuffled", 5.0, "shuffled")


ATTENTION = {"plain": 0.55, "au-w5-l5": 0.88, "au-w5-l5-shuffled": 0.7}


def folders(methods: tuple[str, ...], seeds: tuple[int, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The runs of the grid: each method plain and with AU, the first also with shuffled classes."""
    for method in methods:
        for variant, weight, source in (PLAIN, AU, *([SHUFFLED] if method == methods[0] else [])):
            for seed in seeds:
                folder = f"heldout/faces/{method}/{variant}/seed{seed}"
                row = {"dataset": "faces", "method": method, "variant": "au" if weight else "plain", "weight": weight}
                yield folder, row | {"layers": [5], "map": source, "seed": seed, "protocol": "heldout", "card": folder}


def write(folder: Path, methods: tuple[str, ...] = ("cam", "wildcat"), seeds: tuple[int, ...] = (0, 1)) -> Path:
    """Write everything; return the path of the grid."""
    runs = dict(folders(methods, seeds))
    for name, row in runs.items():
        _run(folder / "runs" / name, name.split("/")[3], row)
        if row["map"] == "own" and row["weight"]:
            _pictures(folder / "figures", name, first=row["seed"] == seeds[0])
    for name in ("baselines", "faithfulness"):
        _picture(folder / "figures" / "table1" / f"{name}.png", 1200, 500)
    (folder / "figures" / "table1" / "baselines.csv").write_text("kind,value\ncam,0.5\n")
    _status(folder / "data" / "faces" / "status.csv")
    own = [name for name in runs if "shuffled" not in name]
    controlled = [name for name in runs if f"/{methods[0]}/" in name]
    experiments = {"table1": {"kind": "table1", "runs": own}, "controls": {"kind": "controls", "runs": controlled}}
    config = {"results": str(folder), "note": EVIL}
    content = {"experiments": experiments, "runs": runs, "datasets": {"faces": {"source": "rafdb"}}, "config": config}
    path = folder / "grid.json"
    path.write_text(json.dumps(content))
    return path


def _run(folder: Path, variant: str, row: dict[str, Any]) -> None:
    folder.mkdir(parents=True)
    attention = ATTENTION[variant] + 0.002 * row["seed"]
    cam = attention - 0.08
    changes = {
        **row,
        "images": 7 * PER_CLASS,
        "images_with_map": 6 * PER_CLASS,
        "accuracy": 0.75,
        "cam_cosine": cam,
        "attention_cosine": {"4": 0.3, "5": attention},
        "settings": variant,
        "checkpoint": f"{row['method']}{variant}{row['seed']}".ljust(64, "0"),
        "commit": "c0ffee".ljust(40, "0"),
        "groups": {"gender": {EVIL: _group(0.8), "male": _group(0.7)}},
        "truth": None,
        "per_class": {label: _class(label, cam, attention) for label in LABELS},
        "maps": {
            "cam": scored.maps(cam, retrieval_true=0.6, retrieval_predicted=0.55),
            "attention": scored.maps(attention, retrieval_true=0.8, retrieval_predicted=0.7),
        },
    }
    made = scored.scores(folder, **changes)
    made.rename(folder / "scores.json")
    made.parent.rmdir()
    _images(folder / "scores.json", cam, attention, right=variant == "au-w5-l5", seed=row["seed"])
    seconds = 12.0 if row["weight"] else 10.0
    pd.DataFrame({"epoch": [1, 2, 3], "seconds": [30.0, seconds, seconds]}).to_csv(folder / "history.csv", index=False)
    meta = {"versions": {"python": "3.12", "torch": "2.9"}, "commit": "c0ffee", "card": {}}
    checksummed.write(folder / "checkpoint.safetensors", {"w": torch.zeros(1)}, meta)
    _averages(folder / "average_maps.npz", changes["checkpoint"], attention)


def _class(label: str, cam: float, attention: float) -> dict[str, Any]:
    known = label != "neutral"
    return {
        "images": PER_CLASS,
        "images_with_map": (PER_CLASS - (label == "fear")) * known,
        "recall": 10 / 16,
        "cam_cosine": cam if known else None,
        "attention_cosine": {"5": attention if known else None},
    }


def _group(accuracy: float) -> dict[str, Any]:
    bounds = {
        f"{name}_{side}": 0.5 for name in ("accuracy", "cam_cosine", "attention_cosine") for side in ("low", "high")
    }
    return {
        "images": 20,
        "accuracy": accuracy,
        "cam_cosine": 0.5,
        "attention_cosine": 0.6,
        "without_landmarks": 0.05,
    } | bounds


def _images(scores: Path, cam: float, attention: float, *, right: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    expressions = [label for label in LABELS for _ in range(PER_CLASS)]
    known = np.array([label != "neutral" for label in expressions])
    noise = rng.normal(0, 0.02, len(expressions))
    correct = [int(number % 4 > 0 or (right and number % 8 == 0)) for number in range(len(expressions))]
    columns = {
        "cam_cosine": np.where(known, cam + noise, np.nan),
        "attention_cosine_5": np.where(known, attention + noise, np.nan),
        "attention_retrieved": [label if label != "neutral" else None for label in expressions],
    }
    scored.images(scores, expressions=expressions, right=correct, **columns)


def _averages(path: Path, checkpoint: str, height: float) -> None:
    grid = np.linspace(0, 1, 56)
    blob = np.exp(-((grid[:, None] - height) ** 2 + (grid[None] - 0.5) ** 2) / 0.05).astype(np.float32)
    maps = {f"{kind}_{expression.label}": blob for kind in ("au_map", "cam", "attention_5") for expression in SIX}
    np.savez_compressed(path, about=np.array(json.dumps({"checkpoint": checkpoint})), **maps)


def _pictures(folder: Path, run: str, *, first: bool) -> None:
    _picture(folder / f"{run}.png", 1224, 700)
    if not first:
        return
    for name in ("matrices", "panels", "reliability"):
        _picture(folder / run / f"{name}.png", 900, 450)
    gallery = folder / run / "gallery"
    faces = []
    for number, label in enumerate(label for label in LABELS for _ in range(3)):
        files = {
            kind: f"{number}-{kind}.jpg" for kind in ("image", "heatmap", "cam_plain", "cam_au", "attention_plain")
        }
        for file in files.values():
            _picture(gallery / file, 224, 224)
        right = (number % 3 != 0, number % 3 != 1)
        faces.append(
            {
                "id": EVIL if number == 0 else f"test_{number:04d}",
                "expression": label,
                "predicted_plain": label if right[0] else "fear",
                "predicted_au": label if right[1] else "anger",
                "probabilities": {"plain": 0.5, "au": 0.75},
                "correct_plain": right[0],
                "correct_au": right[1],
                "cosines": {"cam_plain": 0.5, "cam_au": 0.8, "attention_plain": None},
                "files": files,
            }
        )
    (gallery / "gallery.json").write_text(json.dumps(faces))


def _picture(path: Path, width: int, height: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    across, down = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    Image.fromarray(np.stack([across, down, 255 - across], -1).astype(np.uint8)).save(path)


def _status(path: Path) -> None:
    path.parent.mkdir(parents=True)
    rows = [
        {
            "split": split,
            "expression": label,
            "images": 40,
            "face:ok": 38,
            "landmarks:no_face": lost,
            "percent": percent,
        }
        for split in ("train", "test")
        for label in (*LABELS, EVIL)
        for lost, percent in [(10, "75.0") if label == "disgust" else (0, "100.0")]
    ]
    pd.DataFrame(rows).to_csv(path, index=False)
    steps = ["plain"] * 7 + ["low_threshold"] * 2 + [""]
    faces = {"id": range(30), "split": ["test"] * 20 + ["train"] * 10, "step": steps * 3}
    faces["status"] = (["ok"] * 9 + ["whole_image"]) * 3
    pd.DataFrame(faces).to_csv(path.with_name("faces.csv"), index=False)


def run_folder(folder, variant="au-w5-l5"):
    """Return the folder of a run of CAM."""
    return folder / "runs" / "heldout" / "faces" / "cam" / variant / "seed0"


def change(path, **values):
    """Change values of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
