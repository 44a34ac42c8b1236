"""Test faces and their maps as pictures for the report: right and wrong answers of every class.

python -m eval.figures.gallery PLAIN_predictions.h5 AU_predictions.h5 [--faces 8] [--seed 0] --out DIR

Writes `gallery.json`, a list of faces, and the JPEG files that it names: the image and, laid over the grey face in one
colour scale from 0 to 1, the AU map and the CAM and attention without and with AU. Faces are drawn at random by seed:
up to half of each class are faces that at least one of the two networks got wrong.
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
from eval.figures.faces import SIDES, Face, Image, RunPair, overlay, read_pair
from eval.figures.style import MAP
from pipeline.errors import UserError, run

LIST = "gallery.json"
QUALITY = 85


def sample(pair: RunPair, count: int, seed: int) -> list[int]:
    """Draw up to `count` rows of every class, half of them with a wrong answer if there are enough."""
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


def write_gallery(pair: RunPair, out: Path, *, count: int, seed: int) -> None:
    """Write the gallery to a folder, in the place of an earlier one; it appears complete or not at all.

    Raises UserError if the folder holds anything else.
    """
    if count < 1:
        raise UserError(f"--faces is {count}; it must be at least 1")
    foreign = sorted(path.name for path in out.glob("*") if path.suffix != ".jpg" and path.name != LIST)
    if foreign:
        raise UserError(f"{out} holds {foreign[0]}, which this command did not write; name a new or empty folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as name:
        folder = Path(name) / out.name
        folder.mkdir()
        listed = [
            _written(pair, face, folder, number) for number, face in enumerate(pair.faces(sample(pair, count, seed)))
        ]
        (folder / LIST).write_text(json.dumps(listed, indent=1) + "\n", encoding="utf-8")
        shutil.rmtree(out, ignore_errors=True)
        folder.replace(out)


def _written(pair: RunPair, face: Face, folder: Path, number: int) -> dict[str, Any]:
    pictures = {"image": face.image} | {name: overlay(face.image, values, MAP) for name, values in face.maps.items()}
    files = {name: f"{number:03d}-{name}.jpg" for name in pictures}
    for name, picture in pictures.items():
        _jpeg(folder / files[name], picture)
    answers = {side: Expression(pair.predicted[side][face.row]) for side in SIDES}
    return {
        "id": face.name,
        "expression": face.expression.label,
        **{f"predicted_{side}": answers[side].label for side in SIDES},
        **{f"correct_{side}": answers[side] == face.expression for side in SIDES},
        "probabilities": {side: round(float(pair.probabilities[side][face.row]), 4) for side in SIDES},
        "cosines": {name: round(value, 4) for name, value in face.cosines.items()},
        "files": files,
    }


def _jpeg(path: Path, picture: Image) -> None:
    encoded = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
    path.write_bytes(encoded.tobytes())


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m eval.figures.gallery",
        description="Write pictures of test faces and their maps, without and with AU, and a list: gallery.json.",
    )
    parser.add_argument("plain", type=Path, help="predictions.h5 of the run without AU")
    parser.add_argument("au", type=Path, help="predictions.h5 of the run with AU")
    parser.add_argument("--faces", type=int, default=8, help="faces per class (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed that draws the faces (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="folder to write; an earlier gallery in it is replaced")
    arguments = parser.parse_args()
    write_gallery(read_pair(arguments.plain, arguments.au), arguments.out, count=arguments.faces, seed=arguments.seed)


if __name__ == "__main__":
    run(main)
