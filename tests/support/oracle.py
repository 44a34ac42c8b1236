"""What the published code answers for weights and images of a formula.

tests/golden/published holds, for each of the eleven methods, `<method>.npz` with the answers, and `keys.json.gz` with
names and shapes of the tensors of all released checkpoints. No weights are stored: `tests.support.formula` makes them.
"""

import gzip
import json

import numpy as np

from tests.support.paths import GOLDEN

RELEASED = sorted(path.stem for path in (GOLDEN / "published").glob("*.npz"))


def answers_of(method):
    """Return the answers for two images by name.

    `targets`, `logits`; of the layer `att_layer` the channel mean `att`; of the target class `cam_raw` and, min-maxed,
    `cam_norm`; `cam_all` of every class; `cosines_layers_then_cam` with `formula.heatmaps`, the image as layer 0;
    `features_abs_mean` of the same layers; `loss_ce`; `loss_align_weighted` of `align_layer`, times `align_lambda`;
    `grad_names` and `grad_norms` of the total loss, -1 where there is no gradient.
    """
    with np.load(GOLDEN / "published" / f"{method}.npz") as file:
        return {name: file[name] for name in file.files}


def image_size(method):
    """Return the side in pixels of a method's input."""
    return 112 if method == "APVIT" else 224


def released_shapes(method):
    """Return the shapes of a released checkpoint's tensors by their names there."""
    keys = json.loads(gzip.decompress((GOLDEN / "published" / "keys.json.gz").read_bytes()))
    return {name: tuple(shape) for name, shape in keys[method].items()}
