"""What the measures of a map are called: the key of each in scores and the heading that readers see."""

COSINES = {"cam": "CAM-COS", "attention": "ATT-COS"}  # of the kinds of maps
DISCRIMINATION = {  # eval.metrics.discrimination
    "own_minus_other": "own − other classes",
    "retrieval_true": "retrieval, true class (%)",
    "retrieval_predicted": "retrieval, predicted class (%)",
    "specificity": "own face − other faces",
}
LOCALISATION = {  # eval.metrics.localisation
    "pearson": "Pearson",
    "relevance_mass": "relevance mass",
    "relevance_rank": "relevance rank",
    "pointing_game": "pointing game",
    "iou": "IoU",
    "f1": "F1",
    "auc_judd": "AUC-Judd",
    "nss": "NSS",
}
MEASURES = ("cosine", *LOCALISATION, *DISCRIMINATION)
