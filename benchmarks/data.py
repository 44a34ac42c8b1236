"""The data of all benchmarks: faces of 350 px that the project draws, prepared by its own stages."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pipeline import align, heatmaps, index, landmarks
from pipeline.geometry import warp
from pipeline.sources import synthetic
from pipeline.storage import images
from pipeline.synthetic.generate import generate
from train.card.schema import Card

SIDE, TIGHT = 350, 48  # of a picture; of one that holds a face and nothing else
BATCH_SIZE = 32
Network = tuple[str, str, int, int]  # method, backbone, input size in pixels, guided layer
RESNET50: Network = ("cam", "resnet50", 224, 5)
SMALL: Network = ("cam", "resnet18_quarter", 64, 5)


@dataclass(frozen=True)
class BenchmarkData:
    """A folder with drawn images, their index, and one shard per stage."""

    folder: Path

    @property
    def root(self) -> Path:
        """The folder of the dataset."""
        return self.folder / "images"

    def shard(self, stage: str) -> Path:
        """Return the only shard of a stage."""
        return self.folder / stage / "0.h5"

    def card(self, *, network: Network = RESNET50, weight: float = 4.0, **training: object) -> Card:
        """Make the card of a training on these faces; keyword arguments change its training settings."""
        method, backbone, side, layer = network
        options = {"vit_weights": "none"} if method == "apvit" else {}
        return Card.model_validate(
            {
                "dataset": "drawn",
                "method": method,
                "variant": "au",
                "seed": 0,
                "protocol": "paper",
                "data": {"folder": self.folder},
                "heatmap": {},
                "model": {"backbone": backbone, "init": "none", "image_size": side, "options": options},
                "training": {"epochs": 1, "batch_size": BATCH_SIZE, "learning_rate": 1e-3} | training,
                "guidance": {"weight": weight, "layers": [layer]},
            }
        )


def prepare(folder: Path, people: int) -> BenchmarkData:
    """Draw seven faces for each of some people, half of them for testing, and run every stage once."""
    data = BenchmarkData(folder)
    generate(data.root, identities_train=people // 2, identities_test=people - people // 2, size=SIDE, seed=1)
    index.build_index("synthetic", data.root, 1, data.folder / "index.csv")
    run_stages(data, data.folder, "blaze", "mesh")
    return data


def cut_tightly(data: BenchmarkData) -> BenchmarkData:
    """Cut the drawn faces out from brows to chin, grey and with 48 px as FER2013 has them, into another dataset."""
    tight = BenchmarkData(data.folder / "tight")
    for sample in synthetic.read(data.root):
        assert sample.landmarks is not None
        low, high = sample.landmarks.min(0), sample.landmarks.max(0)
        centre, side = (low + high) / 2, float((high - low).max())
        window = np.column_stack([np.eye(2) * TIGHT / side, (TIGHT - 1) / 2 - centre * TIGHT / side])
        face = warp(images.read(data.root / sample.path), window, TIGHT, border=cv2.BORDER_REPLICATE)
        out = tight.root / sample.split / sample.expression.label / f"{sample.id}.png"
        out.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(out), cv2.cvtColor(face, cv2.COLOR_RGB2GRAY))
    index.build_index("folder", tight.root, 1, tight.folder / "index.csv")
    return tight


def run_stages(data: BenchmarkData, out: Path, detector: str, extractor: str) -> Counter[str]:
    """Align all images, place landmarks and compute AU shapes, a shard each; return the statuses of the landmarks."""
    faces, points, shapes = (out / stage / "0.h5" for stage in ("faces", "landmarks", "heatmaps"))
    align_images(data, faces, detector)
    status = landmarks.extract_landmarks(faces, points, extractor)
    heatmaps.build_heatmaps(points, shapes, "published")
    return status


def align_images(data: BenchmarkData, out: Path, detector: str) -> None:
    """Align all images into one shard."""
    settings: dict[str, Any] = {"detector": detector, "size": 256, "quality": 95, "mode": "face"}
    align.align_shard(data.folder / "index.csv", data.root, 0, out, **settings)
