"""Draw a dataset of synthetic faces and write it to a folder.

DIR/images holds the JPEGs, DIR/truth.csv one row per image with all that is known of it (see `_truth`).
"""

import multiprocessing
import os
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from au_guidance.expressions import Expression
from pipeline.errors import UserError
from pipeline.sources.synthetic import TRUTH
from pipeline.storage.files import write_csv
from pipeline.synthetic.au_table import AUS
from pipeline.synthetic.rendering import Picture, render
from pipeline.synthetic.sampling import Identity, Intensities, View, active, draw_identity, draw_intensities, draw_view

_IMAGE_NAME = re.compile(r"p\d{4,}_[a-z]+_\d+\.jpg")
_LOWEST = {"identities_train": 1, "identities_test": 1, "size": 96, "seed": 0, "per_class": 1, "workers": 1}


@dataclass(frozen=True)
class Shot:
    """One image to draw; `person` counts through the training identities, then the test ones."""

    seed: int
    person: int
    split: str
    expression: Expression
    repetition: int
    size: int

    @property
    def id(self) -> str:
        """The name of the image, such as p0012_fear_0."""
        return f"{self.identity}_{self.expression.label}_{self.repetition}"

    @property
    def identity(self) -> str:
        """The name of the person."""
        return f"p{self.person:04d}"


def generate(
    out: Path,
    *,
    identities_train: int,
    identities_test: int,
    size: int = 224,
    seed: int = 0,
    per_class: int = 1,
    workers: int = 1,
) -> None:
    """Write `per_class` images of each person and expression; the folder appears whole or not at all.

    An image depends on seed, person, expression, repetition and size only, never on the workers. A folder that holds
    nothing but an earlier dataset of this command is replaced; UserError if it holds anything else, and if a number is
    too small.
    """
    _check(identities_train=identities_train, identities_test=identities_test, size=size, seed=seed)
    _check(per_class=per_class, workers=workers)
    _check_replaceable(out)
    shots = _shots(identities_train, identities_test, size=size, seed=seed, per_class=per_class)
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        (temporary / "images").mkdir(parents=True)
        drawn = _draw_all(shots, temporary, workers)
        rows = list(tqdm(drawn, total=len(shots), desc="synthetic faces", unit="image", disable=None))
        write_csv(temporary / TRUTH, list(rows[0]), rows, line_end="\r\n")
        if out.exists():
            shutil.rmtree(out)
        temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def draw(shot: Shot) -> tuple[Identity, Intensities, View, Picture]:
    """Draw one image and return what is on it; identity and view are drawn apart from the expression's AUs."""
    image_seed = (shot.person, int(shot.expression), shot.repetition)
    identity = draw_identity(_rng(shot.seed, (shot.person,)))
    intensities = draw_intensities(_rng(shot.seed, (*image_seed, 0)), shot.expression)
    view = draw_view(_rng(shot.seed, (*image_seed, 1)))
    return identity, intensities, view, render(identity, intensities, view, shot.size)


def _check(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < _LOWEST[name]:
            raise UserError(f"--{name.replace('_', '-')}: {number} is below {_LOWEST[name]}")


def _shots(train: int, test: int, *, size: int, seed: int, per_class: int) -> list[Shot]:
    """List the images of the training people, then the test ones."""
    persons = [(person, "train" if person < train else "test") for person in range(train + test)]
    return [
        Shot(seed, person, split, expression, repetition, size)
        for (person, split), expression, repetition in product(persons, Expression, range(per_class))
    ]


def _rng(seed: int, key: tuple[int, ...]) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def _draw_all(shots: list[Shot], folder: Path, workers: int) -> Iterator[dict[str, str | float]]:
    folders = [folder] * len(shots)
    if workers == 1:
        yield from map(_write_image, shots, folders)
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, spawn, initializer=cv2.setNumThreads, initargs=(1,)) as executor:
        yield from executor.map(_write_image, shots, folders, chunksize=4)


def _write_image(shot: Shot, folder: Path) -> dict[str, str | float]:
    """Write one JPEG and return its row of the truth."""
    identity, intensities, view, picture = draw(shot)
    bgr = np.ascontiguousarray(picture.image[..., ::-1])
    jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, view.jpeg_quality])[1]
    path = f"images/{shot.id}.jpg"
    with (folder / path).open("wb") as file:
        file.write(jpeg.tobytes())
        os.fsync(file.fileno())
    return {"id": shot.id, "path": path} | _truth(shot, identity, intensities, view, picture)


def _truth(
    shot: Shot, identity: Identity, intensities: Intensities, view: View, picture: Picture
) -> dict[str, str | float]:
    """Return what is known of an image.

    Every AU has its intensity on the image-left and image-right side; `active_aus` lists those whose mean is at least
    0.25. Angles are degrees. `landmarks` is x;y;x;y... in pixels, an integer is a pixel's centre.
    """
    known: dict[str, str | float] = {
        "expression": shot.expression.label,
        "split": shot.split,
        "identity": shot.identity,
        "skin_tone": identity.skin_tone,
        "melanin": round(identity.melanin, 4),
        "active_aus": ";".join(map(str, active(intensities))),
    }
    for au in AUS:
        left, right = intensities.get(au, (0.0, 0.0))
        known |= {f"au{au}_left": round(left, 4), f"au{au}_right": round(right, 4)}
    for name in ("yaw", "pitch", "roll", "light_azimuth", "light_elevation", "ambient", "exposure"):
        known[name] = round(getattr(view, name), 4)
    known["landmarks"] = ";".join(f"{number:.3f}" for number in picture.landmarks.ravel())
    return known


def _check_replaceable(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise UserError(f"--out: {out} is a file; name a folder")
    for path in (*out.glob("*"), *(out / "images").glob("*")):
        ours = path in (out / TRUTH, out / "images") or _IMAGE_NAME.fullmatch(path.name)
        if not ours:
            raise UserError(f"--out: {out} holds {path.name}, which this command did not write; name another folder")
