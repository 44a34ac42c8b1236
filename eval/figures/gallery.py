"""Faces of the test set with their maps, as pictures for the report: right and wrong answers of every class.

python -m eval.figures.gallery PLAIN_predictions.h5 AU_predictions.h5 [--faces 8] [--seed 0] --out DIR

Writes `gallery.json`, a list of faces, and the JPEGs that it names: the image, and over the grey face in one colour
scale from 0 to 1 the AU map, CAM and attention without and with AU. Faces are drawn by seed and not picked: of every
class as many wrong answers as right ones where there are enough; wrong is what one of the two networks got wrong.
"""

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from au_guidance.expressions import Expression
from eval.figures.faces import SIDES, Face, Image, Twins, overlay, twins
from eval.figures.style import MAP
from pipeline.errors import UserError, run

QUALITY = 85


def drawn(pair: Twins, count: int, seed: int) -> list[int]:
    """Draw up to `count` rows of every class, half of them with a wrong answer where there are so many."""
    rng = np.random.default_rng(seed)
    wrong = np.logical_or.reduce([pair.predicted[side] != pair.au.expressions for side in SIDES])
    rows: list[int] = []
    for expression in Expression:
        own = rng.permutation(np.flatnonzero(pair.au.expressions == expression))
        bad, good = own[wrong[own]], own[~wrong[own]]
        some = max(min(len(bad), count // 2), count - len(good))
        chosen = np.concatenate([bad[:some], good[: count - min(some, len(bad))]])
        rows += rng.permutation(chosen).tolist()
    return rows


def write_gallery(pair: Twins, out: Path, *, count: int, seed: int) -> None:
    """Write the gallery to a folder, in place of what was there; it appears whole or not at all."""
    if count < 1:
        raise UserError(f"--faces is {count}; it must be at least 1")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as name:
        folder = Path(name) / out.name
        folder.mkdir()
        listed = [
            _written(pair, face, folder, number) for number, face in enumerate(pair.faces(drawn(pair, count, seed)))
        ]
        (folder / "gallery.json").write_text(json.dumps(listed, indent=1) + "\n", encoding="utf-8")
        shutil.rmtree(out, ignore_errors=True)
        folder.replace(out)


def _written(pair: Twins, face: Face, folder: Path, number: int) -> dict[str, Any]:
    pictures = {"image": face.image} | {name: overlay(face.image, one, MAP) for name, one in face.maps.items()}
    files = {name: f"{number:03d}-{name}.jpg" for name in pictures}
    for name, picture in pictures.items():
        _jpeg(folder / files[name], picture)
    said = {side: Expression(pair.predicted[side][face.row]) for side in SIDES}
    return {
        "id": face.name,
        "expression": face.expression.label,
        **{f"predicted_{side}": said[side].label for side in SIDES},
        **{f"correct_{side}": said[side] == face.expression for side in SIDES},
        "probabilities": {side: round(float(pair.probabilities[side][face.row]), 4) for side in SIDES},
        "cosines": {name: round(value, 4) for name, value in face.cosines.items()},
        "files": files,
    }


def _jpeg(path: Path, picture: Image) -> None:
    encoded = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
    path.write_bytes(encoded.tobytes())


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Write pictures of test faces and their maps, without and with AU.")
    parser.add_argument("plain", type=Path, help="predictions.h5 of the run without AU")
    parser.add_argument("au", type=Path, help="predictions.h5 of the run with AU")
    parser.add_argument("--faces", type=int, default=8, help="faces of each class")
    parser.add_argument("--seed", type=int, default=0, help="which faces are drawn follows from it")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    arguments = parser.parse_args()
    write_gallery(twins(arguments.plain, arguments.au), arguments.out, count=arguments.faces, seed=arguments.seed)


if __name__ == "__main__":
    run(main)
