"""The faces that are measured on: drawn by the project, 350 px, prepared by its own stages."""

from dataclasses import dataclass
from pathlib import Path

from pipeline import align, heatmaps, index, landmarks
from pipeline.synthetic.generate import generate

SIDE = 350
PER_PERSON = 7


@dataclass(frozen=True)
class Prepared:
    """A folder with the drawn images, their index, and one shard of each stage."""

    folder: Path

    @property
    def root(self) -> Path:
        """Name the folder of the images."""
        return self.folder / "images"

    @property
    def index(self) -> Path:
        """Name the index of the images."""
        return self.folder / "index.csv"

    def stage(self, name: str) -> Path:
        """Name the one shard of a stage."""
        return self.folder / name / "0.h5"


def prepare(folder: Path, people: int) -> Prepared:
    """Draw the faces of some people, half of them to test on, and run the stages once."""
    made = Prepared(folder)
    generate(made.root, identities_train=people // 2, identities_test=people - people // 2, size=SIDE, seed=1)
    index.build_index("synthetic", made.root, 1, made.index)
    align.align_shard(
        made.index, made.root, 0, made.stage("faces"), detector="dlib", size=256, quality=95, mode="corrected"
    )
    landmarks.extract_landmarks(made.stage("faces"), made.stage("landmarks"), "dlib")
    heatmaps.build_heatmaps(made.stage("landmarks"), made.stage("heatmaps"), "published")
    return made
