"""The baselines: what the map of each is and knows, and how a cosine relates to one (skill).

A baseline is the cosine, with the AU heatmaps of the same faces, of a map that is not read from a trained network: a
score that is not above it shows nothing that the baseline does not know. Scores, tables, figures, report and docs all
take names and descriptions from here; `eval.metrics.baseline_maps` paints the maps.
"""

from dataclasses import dataclass

PREFIX = "baseline_"  # of their columns
SKILL = "class_agnostic"  # the baseline that the skill is measured from


@dataclass(frozen=True)
class Baseline:
    """A baseline: its heading in tables and figures, what its map is, and what it knows of the test face."""

    label: str
    map: str
    knows: str

    @property
    def description(self) -> str:
        """Both in one sentence, without its full stop."""
        return f"{self.map}; it knows {self.knows}"


# From the one that knows least; all but `untrained` and `ceiling` are the same for CAM and attention.
BASELINES = {
    "uniform": Baseline("uniform map", "the same value everywhere", "nothing"),
    "centred_gaussian": Baseline(
        "centred Gaussian",
        "one Gaussian in the middle of the image, its deviation a quarter of the side",
        "that a face is in the middle",
    ),
    "face_gaussian": Baseline(
        "face Gaussian",
        "one Gaussian with the mean and the covariance of the training faces' landmarks",
        "where faces lie",
    ),
    "landmarks": Baseline(
        "landmark map",
        "the mean of equal Gaussians on the landmarks of the training faces",
        "where the parts of faces lie",
    ),
    "untrained": Baseline(
        "untrained network", "the map of the same network with random weights", "the image and the network's shape"
    ),
    "class_agnostic": Baseline(
        "class-agnostic mean",
        "the mean AU map of the training faces, averaged over the six expressions",
        "where AUs lie; neither the class nor the face",
    ),
    "predicted_class_mean": Baseline(
        "mean of predicted class",
        "the training faces' mean AU map of the predicted class, for Neutral the class-agnostic mean",
        "the network's answer, not where it looks",
    ),
    "class_mean": Baseline("mean of true class", "the training faces' mean AU map of the true class", "the label"),
    "other_face": Baseline(
        "another face's map",
        "the AU maps of at most 20 other test faces of the true class, their cosines averaged",
        "the label and how faces of the class look",
    ),
    "ceiling": Baseline(
        "own map through the grid",
        "the face's own AU map, brought to the grid of the layer and back",
        "everything; a network whose AU loss is zero reaches it, and another map on the grid can come a little closer",
    ),
}


def skill(cosine: float, baseline: float) -> float | None:
    """Return the share of what a baseline leaves to gain: (cosine - baseline) / (1 - baseline).

    1 is perfect, 0 no better than the baseline, negative is worse; higher is better. None where the baseline is
    perfect. Source: forecast skill scores (Murphy, Skill scores based on the mean square error, 1988).
    """
    return (cosine - baseline) / (1 - baseline) if baseline < 1 else None
