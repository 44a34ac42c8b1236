"""How often a network is right: accuracy, recall, F1 and the confusion of the classes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from au_guidance.expressions import Expression

CLASSES = len(Expression)


@dataclass(frozen=True, eq=False)
class Classification:
    """Scores of a classifier in [0, 1].

    `recall` (7,) is NaN for a class without images; `confusion` (7, 7) counts images by true and predicted class.
    """

    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    recall: NDArray[np.float64]
    confusion: NDArray[np.int64]


def classification_scores(logits: NDArray[np.floating], expressions: NDArray[np.integer]) -> Classification:
    """Compare the class of the largest logit (n, 7) with the true class (n,).

    accuracy = correct / n (the paper's CL, over all seven classes); recall_c = correct_c / n_c; balanced accuracy =
    mean of recall_c; F1_c = 2 correct_c / (n_c + predicted_c), macro F1 = mean of F1_c; both means run over the classes
    that have images. All in [0, 1], higher is better. Sources: the paper, Section 4.1; Sokolova and Lapalme, A
    systematic analysis of performance measures for classification tasks, 2009.
    """
    confusion = np.zeros((CLASSES, CLASSES), dtype=np.int64)
    np.add.at(confusion, (expressions, logits.argmax(axis=1)), 1)
    correct, images, predicted = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    present = images > 0
    recall = np.divide(correct, images, out=np.full(CLASSES, np.nan), where=present)
    f1 = 2 * correct[present] / (images + predicted)[present]
    return Classification(
        accuracy=float(correct.sum() / images.sum()),
        balanced_accuracy=float(recall[present].mean()),
        macro_f1=float(f1.mean()),
        recall=recall,
        confusion=confusion,
    )
