"""Does the network need what a map shows? Pixels are removed or kept, and the network is asked again.

`Classifier` is a network that turns images (b, 3, s, s) in [0, 1] into probabilities (b, k). It normalises them after
they are changed, as it would see such a picture.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from eval.faithfulness.imputation import impute

Classifier = Callable[[Tensor], Tensor]
STEPS = 10  # of a deletion or insertion curve
# Deviation of the Gaussian as a share of the side, 19 px at 224. Under RISE's 5 px a small network still gave two of
# three faces of RAF-DB the class that it gave them unblurred.
BLUR = 1 / 12


@dataclass(frozen=True, eq=False)
class ExplainedFaces:
    """Faces whose predictions are explained: images (b, 3, s, s) in [0, 1], their blurred copies, predicted `classes`.

    `full` and `blurred` (b,) are the probabilities of these classes for both.
    """

    classify: Classifier
    images: Tensor
    copies: Tensor
    classes: Tensor
    full: Tensor
    blurred: Tensor


def blur(images: Tensor) -> Tensor:
    """Blur images (b, 3, s, s) with a Gaussian of BLUR * s px, cut off at four deviations, mirrored at the border."""
    size = images.shape[-1]
    deviation = BLUR * size
    reach = min(math.ceil(4 * deviation), size - 1)
    places = torch.arange(-reach, reach + 1, dtype=images.dtype, device=images.device)
    kernel = torch.exp(-((places / deviation) ** 2) / 2)
    kernel = kernel / kernel.sum()
    padded = F.pad(images, (reach,) * 4, mode="reflect").flatten(0, 1)[:, None]
    rows = F.conv2d(padded, kernel[None, None, None])
    return F.conv2d(rows, kernel[None, None, :, None]).reshape(images.shape)


def explain_faces(classify: Classifier, images: Tensor, classes: Tensor) -> ExplainedFaces:
    """Record the answers of a network for faces as they are and for their blurred copies."""
    copies = blur(images)
    full, blurred = (class_probability(classify(given), classes) for given in (images, copies))
    return ExplainedFaces(classify, images, copies, classes, full, blurred)


def deletion(faces: ExplainedFaces, order: Tensor) -> Tensor:
    """Blur a face from its most relevant pixels on; return the probability of its predicted class (b, STEPS + 1).

    Value i of the curve is p(class | the i / STEPS of the pixels first in `order` (b, s, s) are blurred). `area` of it
    is in [0, 1]; lower is better: without what the map shows, the network changes its mind. Compare with a random
    order. Source: Petsiuk et al., RISE, BMVC 2018, section 4; the original deletes to black, which is a picture that no
    network was trained on, and inserts into a blurred image. Here both use the blurred image.
    """
    return _replace(faces, order, inserted=False)


def insertion(faces: ExplainedFaces, order: Tensor) -> Tensor:
    """Sharpen a blurred face from its most relevant pixels on; else as `deletion`, and higher is better."""
    return _replace(faces, order, inserted=True)


def _replace(faces: ExplainedFaces, order: Tensor, *, inserted: bool) -> Tensor:
    start, end = (faces.copies, faces.images) if inserted else (faces.images, faces.copies)
    values = [faces.blurred if inserted else faces.full]
    for step in range(1, STEPS):
        reached = first(order, step / STEPS)
        values.append(class_probability(faces.classify(torch.where(reached[:, None], end, start)), faces.classes))
    return torch.stack([*values, faces.full if inserted else faces.blurred], 1)


def area(curves: NDArray[np.floating]) -> NDArray[np.float64]:
    """Integrate curves (n, points) over the share of pixels from 0 to 1 by trapezoids, (n,): in [0, 1]."""
    areas: NDArray[np.float64] = np.trapezoid(curves, dx=1 / (curves.shape[1] - 1), axis=1)
    return areas


def relevance_order(maps: Tensor, ties: Tensor) -> Tensor:
    """Rank the pixels of maps (b, s, s): 0 for the most relevant one, s * s - 1 for the least.

    Equal values, as the zeros of a map behind a ReLU, are ranked by `ties` (b, s, s), random numbers; in reading order
    they would prefer the forehead. Raises ValueError on a value that is not finite.
    """
    if not torch.isfinite(maps).all():
        raise ValueError("a map with a value that is not finite has no order")
    shuffled = ties.flatten(1).argsort(dim=1)
    descending = maps.flatten(1).gather(1, shuffled).argsort(dim=1, descending=True, stable=True)
    return shuffled.gather(1, descending).argsort(dim=1).view_as(maps)


def reverse(order: Tensor) -> Tensor:
    """Turn an order (b, s, s) from the most relevant pixel on into one from the least relevant pixel on."""
    return order[0].numel() - 1 - order


def first(order: Tensor, fraction: float) -> Tensor:
    """Mark the pixels (b, s, s) that make up the first `fraction` of an order."""
    return order < round(fraction * order[0].numel())


def move(masks: Tensor, shifts: Tensor) -> Tensor:
    """Roll each mask (b, s, s) down and right by its shifts (b, 2) in pixels; what leaves on one side comes back."""
    pairs = zip(masks, shifts.tolist(), strict=True)
    return torch.stack([mask.roll((down, right), (0, 1)) for mask, (down, right) in pairs])


def regions(
    classify: Classifier, images: Tensor, expressions: Tensor, *, masks: Tensor, shifts: Tensor, noise: Tensor
) -> Tensor:
    """Keep or remove the AU region of the true class; return the share of right answers (b, 5).

    Columns: the whole face; only `masks` (b, s, s) kept; only they removed; and both with the mask rolled to random
    places, `shifts` (b, places, 2), averaged. What is gone is imputed with `noise` (b, 3, s, s). In [0, 1]: if the
    action units carry the expression, au_kept is above random_kept and au_removed below random_removed. Same area and
    shape, but a random place may lie on hair or background. Source: ours, with the imputation of Rong et al. (2022), so
    that the mask's shape, which follows from the true class, hardly shows.
    """

    def right(given: Tensor) -> Tensor:
        return (classify(given).argmax(1) == expressions).double()

    def pair(region: Tensor) -> Tensor:
        return torch.stack([right(impute(images, known, noise)) for known in (region, ~region)], 1)

    elsewhere = torch.stack([pair(move(masks, shifts[:, place])) for place in range(shifts.shape[1])]).mean(0)
    return torch.cat([right(images)[:, None], pair(masks), elsewhere], 1)


def class_probability(probabilities: Tensor, classes: Tensor) -> Tensor:
    """Pick the probability (b,) of each face's class from those of all classes (b, k)."""
    return probabilities.gather(1, classes[:, None])[:, 0].double()
