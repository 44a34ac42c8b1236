"""ROAD: pixels are imputed in the order of a map, and the network is asked again (Rong et al., ICML 2022)."""

import torch
from torch import Tensor

from eval.faithfulness.imputation import impute
from eval.faithfulness.removal import ExplainedFaces, class_probability, first

FRACTIONS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9)  # of the pixels that ROAD removes


def road(faces: ExplainedFaces, order: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Impute the pixels first in `order` (b, s, s); return p(predicted class) and whether it stays: (b, 7) each.

    One column for each share of FRACTIONS. With the order of relevance (MoRF) a low value is good; with that order
    reversed (LeRF, see `reverse`) a high one. ROAD is the mean over columns of LeRF less that of MoRF, in [-1, 1];
    higher is better and 0 is what a random order gets. `noise` (b, 3, s, s) is standard normal, see
    `eval.faithfulness.imputation.impute`. Source: Rong et al., A Consistent and Efficient Evaluation Strategy for
    Attribution Methods, ICML 2022, who report the accuracy; the probability varies less on few faces.
    """
    probabilities, stays = [], []
    for fraction in FRACTIONS:
        answer = faces.classify(impute(faces.images, ~first(order, fraction), noise))
        probabilities.append(class_probability(answer, faces.classes))
        stays.append(answer.argmax(1) == faces.classes)
    return torch.stack(probabilities, 1), torch.stack(stays, 1)
