"""The notes below a table: what a reader must know about its numbers."""

from collections.abc import Iterator

import pandas as pd

from eval.tables import paper
from eval.tables.kinds import KINDS
from eval.tables.layout import METHODS, PENDING, PROTOCOLS, STALE, UNKNOWN, method_name

SHARED = {
    "accuracy": "CL is classification accuracy over all seven classes, in percent.",
    "cosines": "Cosines are macro means over the six expressions; Neutral has no AUs.",
}
OF_KIND = {
    "classification": (
        "Balanced accuracy and macro F1 are means over classes. ECE: expected calibration error, the mean gap between "
        "confidence and accuracy over bins. NLL: mean negative log-likelihood of the true class. Lower is better.",
    ),
    "baselines": (
        "Baselines are cosines, on the same faces, of maps that are not read from a trained network. A cosine that is "
        "not above the class-agnostic mean says little. `mean of true class`, a fixed map per class, needs the label "
        "and no network; `mean of predicted class` is that map for the class that this network predicts.",
        "Skill = (cosine − class-agnostic mean) / (1 − class-agnostic mean): 0 is that map, 1 is the AU map.",
        "cosine, truly active AUs: the cosine with a map of the AUs that a face truly shows, known for synthetic faces "
        "only; the AU map is drawn from the codebook instead.",
        "own − other classes: cosine with the AU map of the true class minus the mean cosine with those of the other "
        "five classes on the same face. Retrieval: how often the best match among the six AU maps of a face is that of "
        "its true (predicted) class; chance is 16.7 %, and the maps of Fear and Surprise nearly coincide. own face − "
        "other faces: cosine with the face's own AU map minus that with the AU maps of other faces of its class.",
        "Pearson, relevance mass and rank, pointing game, IoU, F1, AUC-Judd and NSS: higher is better.",
    ),
    "faithfulness": (
        "Deletion: probability of the predicted class while pixels are removed, the highest of the map first; lower is "
        "better. Insertion: while they are shown; higher is better. A random map of the same grid gives the columns "
        "`random map`; the gain is the improvement over it (0 for an uninformative map). ROAD: that probability while "
        "pixels are imputed, most relevant first (MoRF, lower is better) or least relevant first (LeRF, higher is "
        "better).",
        "all weights random: rank correlation of the map with that of the same network with random weights; near 0 "
        "means that the map depends on what was learnt. In the figure, weights are randomised from the output down; "
        "attention does not change before its own layer is reached.",
        "Random regions have the area of the AU regions.",
    ),
    "groups": (
        "Brackets: 95 % bootstrap interval over the faces of the group; with several seeds, the mean of their bounds. "
        "Cosines are means over the group's faces with an AU map, not over classes.",
    ),
    "time": (
        "Seconds per epoch with its validation: median over the epochs of a run, mean over seeds. The paper's hardware "
        "is unknown, so only the ratio of with to without AU can be compared. Other jobs on the same processor slow a "
        "run down; runs that share one training share its time.",
    ),
}


def notes(name: str, table: pd.DataFrame) -> list[str]:
    """Return the notes of a table: protocol, faces, layers, rounding, missing cells, and what the numbers mean."""
    kind = KINDS[name]
    shown = table[table["seeds"] > 0]
    metrics = set(table["metric"])
    lines = [*_places(shown), *(_faces(shown) if kind.paper and name != "time" else [])]
    lines += [SHARED["accuracy"]] if "accuracy" in metrics else []
    lines += [SHARED["cosines"]] if name in ("table1", "table2", "table3", "lambda", "sweep", "baselines") else []
    if "attention_cosine" in metrics:
        lines.append(f"ATT-COS is that of the deepest guided layer{_layers(shown) if name == 'table2' else ''}.")
    lines += [*OF_KIND.get(name, ()), *_spans(name)]
    lines.append("Ours: mean ± standard deviation over seeds (number of seeds).")
    if kind.paper and name != "time":
        lines.append(
            f"The paper selects the epoch on the test set, so its numbers stand beside protocol {paper.PROTOCOL} only. "
            "It truncates them to two decimals; ours are truncated too where they stand beside them."
        )
    return [*lines, *_legend(table)]


def _places(shown: pd.DataFrame) -> Iterator[str]:
    if shown["attribute"].notna().any():
        shown = shown[shown["attribute"] == ""]
    places = zip(shown["dataset"], shown["protocol"], shown["images"].astype(int), strict=True)
    for dataset, protocol, count in dict.fromkeys(places):
        yield f"{dataset}, protocol {protocol}: {PROTOCOLS[protocol]}; {count} test faces."


def _faces(shown: pd.DataFrame) -> Iterator[str]:
    official = paper.official_images()
    counts = zip(shown["dataset"], shown["images"].astype(int), strict=True)
    for dataset, count in dict.fromkeys(counts):
        if dataset not in official:
            yield f"The paper has no numbers for {dataset}."
        elif count != official[dataset]:
            yield (
                f"{dataset}: the paper's numbers are for {official[dataset]} test faces, not for these {count}; "
                "the difference does not say how well the paper is reproduced."
            )


def _layers(table: pd.DataFrame) -> str:
    """Name the deepest guided layer, that of ATT-COS: 5, and every method for which it is another one."""
    deepest: dict[str, set[int]] = {}
    for method, names in zip(table["method"], table["layers"], strict=True):
        deepest.setdefault(method, set()).add(max(map(int, names.split("+"))))
    others = [
        f"{method_name(method)}: {' or '.join(map(str, sorted(deepest[method])))}"
        for method in sorted(deepest, key=[*METHODS, *deepest].index)
        if deepest[method] != {5}
    ]
    return f", 5 ({', '.join(others)})" if others else ", 5"


def _spans(name: str) -> Iterator[str]:
    """Return the range of the numbers in the paper's table, which the baselines are to be read beside."""
    if name in ("table1", "baselines"):
        plain = paper.span("table1", "cam_cosine", "plain", "rafdb")
        yield f"The paper's CAM-COS on RAF-DB lie between {plain[0]:.2f} and {plain[1]:.2f} without AU (Table 1)."
    if name in ("table2", "baselines"):
        plain, guided = (paper.span("table2", "attention_cosine", variant) for variant in ("plain", "au"))
        yield (
            f"The paper's ATT-COS lie between {plain[0]:.2f} and {plain[1]:.2f} without AU and between "
            f"{guided[0]:.2f} and {guided[1]:.2f} with AU (Table 2, all methods, both datasets)."
        )
    if name == "baselines":
        yield "They are for other faces and landmarks than these baselines, so the comparison is rough."


def _legend(table: pd.DataFrame) -> Iterator[str]:
    states = set(table["state"])
    words = [f"{UNKNOWN}: not known", f"{PENDING}: no run yet"]
    words += [f"{STALE}: made under another configuration, so not shown"] if "stale" in states else []
    words += ["n of m: n of m seeds are done"] if "partial" in states else []
    yield "; ".join([*words, f"{paper.NO_CAM}: the method has no CAM."])
