"""The data of all benchmarks: faces of 350 px that the project draws, prepared by its own stages."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import align, heatmaps, index, landmarks
from pipeline.synthetic.generate import generate
from train.card.schema import Card

SIDE = 350
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
    align_images(data, data.shard("faces"), "dlib")
    landmarks.extract_landmarks(data.shard("faces"), data.shard("landmarks"), "dlib")
    heatmaps.build_heatmaps(data.shard("landmarks"), data.shard("heatmaps"), "published")
    return data


def align_images(data: BenchmarkData, out: Path, detector: str) -> None:
    """Align all images into one shard."""
    settings: dict[str, Any] = {"detector": detector, "size": 256, "quality": 95, "mode": "corrected"}
    align.align_shard(data.folder / "index.csv", data.root, 0, out, **settings)
