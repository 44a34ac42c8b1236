"""A mean face, drawn pictures of faces, and shards of prepared faces made from them."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from au_guidance.expressions import Expression
from au_guidance.heatmap import shapes
from pipeline.storage import shards

CROP = 96


def mean_face() -> np.ndarray:
    """68 landmarks of a frontal face on the 224-px canvas, placed like the alignment template."""
    jaw_angle = np.linspace(np.pi, 0, 17)
    jaw = np.stack([112 + 82 * np.cos(jaw_angle), 110 + 108 * np.sin(jaw_angle)], 1)
    brow = np.array([[52, 82], [62, 75], [74, 73], [86, 75], [97, 80]], float)
    nose = np.array([[112, 98], [112, 113], [112, 128], [112, 143], [98, 152], [105, 155], [112, 157]], float)
    eye = np.array([[63, 104], [71, 99], [81, 99], [90, 105], [81, 108], [71, 108]], float)
    mouth = np.array([[83, 184], [93, 178], [104, 175], [112, 177], [112, 195], [102, 194], [92, 191]], float)
    inner = np.array([[88, 184], [104, 182], [112, 183], [112, 187], [104, 187]], float)

    def mirrored(points: np.ndarray, order: list[int]) -> np.ndarray:
        return np.array([224, 0]) + points[order] * np.array([-1, 1])

    lip = np.vstack([mouth[:4], mirrored(mouth, [2, 1, 0, 6, 5]), mouth[4:]])
    inside = np.vstack([inner[:3], mirrored(inner, [1, 0, 4]), inner[3:]])
    nostrils = mirrored(nose, [5, 4])
    eyes = [eye, mirrored(eye, [3, 2, 1, 0, 5, 4])]
    points = np.vstack([jaw, brow, mirrored(brow, [4, 3, 2, 1, 0]), nose, nostrils, *eyes, lip, inside])
    assert points.shape == (68, 2)
    return points


def face_picture(expression: Expression, rng: np.random.Generator) -> np.ndarray:
    """A grey oval with noise and a bright patch whose place and colour tell the class; uint8 RGB."""
    image = rng.normal(90, 12, (CROP, CROP, 3))
    row, column = np.mgrid[:CROP, :CROP]
    image[((row - 52) / 42) ** 2 + ((column - 48) / 36) ** 2 < 1] += 40
    angle = 2 * np.pi * int(expression) / 7
    centre = np.array([48 + 22 * np.sin(angle), 48 + 22 * np.cos(angle)]) + rng.normal(0, 2, 2)
    patch = np.exp(-((row - centre[0]) ** 2 + (column - centre[1]) ** 2) / (2 * 7.0**2))
    image[..., int(expression) % 3] += 110 * patch
    return np.clip(image, 0, 255).astype(np.uint8)


def write_shard(folder: Path, shard: int, rows: list[tuple[str, str, Expression, int]], rng: Any) -> None:
    count = len(rows)
    ids = [row[0] for row in rows]
    points = mean_face() + rng.normal(0, 1.0, (count, 68, 2))
    points[[i for i, name in enumerate(ids) if name in {"train_005", "test_004"}]] = np.nan
    unreadable = [name == "train_010" for name in ids]
    points[unreadable] = np.nan
    files = []
    for (_, _, expression, _), broken in zip(rows, unreadable, strict=True):
        picture = cv2.cvtColor(face_picture(expression, rng), cv2.COLOR_RGB2BGR)
        files.append(np.zeros(0, np.uint8) if broken else cv2.imencode(".jpg", picture)[1].ravel())
    faces = {
        "id": ids,
        "expression": np.array([row[2] for row in rows], np.int8),
        "split": [row[1] for row in rows],
        "identity": [f"{row[1]} person {row[3]}" for row in rows],
        "attribute_gender": [("female", "male")[row[3] % 2] for row in rows],
        "status": ["unreadable" if broken else "ok" for broken in unreadable],
        "step": ["plain"] * count,
        "jpeg": np.concatenate(files),
        "offset": np.concatenate([[0], np.cumsum([len(file) for file in files])]).astype(np.int64),
        "box": np.tile(np.array([12, 10, 84, 92], np.float32), (count, 1)),
        "matrix": np.tile(np.eye(2, 3), (count, 1, 1)),
        "source_landmarks": np.full((count, 68, 2), np.nan, np.float32),
    }
    shards.write(folder / "faces" / f"{shard}.h5", faces, of=2, size=CROP, detector="none", mode="similarity")
    missing = np.isnan(points).any((1, 2))
    landmarks = {
        "id": ids,
        "points": ((points + 0.5) * CROP / 224 - 0.5).astype(np.float32),
        "status": np.where(missing, np.where(unreadable, "unreadable", "no_face"), "ok"),
        "quality": np.where(missing, np.nan, 0.9).astype(np.float32),
    }
    shards.write(folder / "landmarks" / f"{shard}.h5", landmarks, of=2, extractor="none", size=CROP)
    drawn = [shapes(face) for face in np.where(np.isnan(points), mean_face(), points)]
    stored = np.where(missing[:, None, None], np.nan, np.stack(drawn)).astype(np.float32)
    shards.write(folder / "heatmaps" / f"{shard}.h5", {"id": ids, "shapes": stored}, of=2, geometry="published")
