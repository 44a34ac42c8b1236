"""What a reader of a table must know, below it."""

from collections.abc import Iterator

import pandas as pd

from eval.tables import paper
from eval.tables.kinds import KINDS
from eval.tables.layout import METHODS, NO_CAM, PENDING, PROTOCOLS, STALE, UNKNOWN, method_name

SHARED = {
    "accuracy": "CL is the share of right answers over all seven classes, in percent.",
    "cosines": "Cosines are macro means over the six expressions; Neutral has no AUs.",
}
OF_KIND = {
    "classification": (
        "Balanced accuracy and macro F1 are means over classes. ECE: gap between confidence and accuracy over bins, 0 "
        "is best. NLL: mean negative log-likelihood of the true class, lower is better.",
    ),
    "baselines": (
        "Baselines are cosines, on the same faces, of maps that are not read from a trained network: a cosine says "
        "little unless it is above the class-agnostic mean. A fixed map per class (mean of true class) needs the label "
        "and no network; `mean of predicted class` paints that map for the class that this network answers.",
        "Skill = (cosine − class-agnostic mean) / (1 − class-agnostic mean): 0 is that map, 1 is the AU map.",
        "cosine, truly active AUs: known of faces that the project draws; the AU map has those of a codebook instead.",
        "own − other classes: cosine with the AU map of the true class minus the mean with those of the other five, "
        "drawn on the same face. Retrieval: how often the best match of the six maps is that of the true (predicted) "
        "class; chance is 16.7 %, and Fear and Surprise nearly coincide. own face − other faces: cosine with the "
        "face's own AU map minus that with maps of other faces of its class.",
        "Pearson, relevance mass and rank, pointing game, IoU, F1, AUC-Judd and NSS: higher is better.",
    ),
    "faithfulness": (
        "Deletion: probability of the predicted class while the pixels that the map ranks highest vanish, lower is "
        "better. Insertion: while they appear, higher is better. Beside them the same with a random map of the same "
        "grid, and what the map is better by (gain; 0 for a map that says nothing). ROAD: that probability while "
        "pixels are imputed, most relevant first (MoRF, lower is better) or least relevant first (LeRF, higher is "
        "better).",
        "all weights random: rank correlation of the map with that of the same network after all its weights are drawn "
        "anew; near 0 means that the map depends on what was learnt. In the figure weights become random from the top "
        "down, and attention stays as it is until its own layer is reached.",
        "Random regions have the area of the AU regions.",
    ),
    "groups": (
        "Brackets: 95 % bootstrap interval over the faces of the group, mean of the bounds where there are several "
        "seeds. Cosines are means over the group's faces with an AU map, not over classes.",
    ),
    "time": (
        "Seconds per epoch with its validation: median over the epochs of a run, mean over seeds. The paper's are of "
        "hardware that we do not know; only the ratio of with to without AU can be compared. Runs that shared the "
        "processor with others were slower; runs that share one training have its time.",
    ),
}


def notes(name: str, table: pd.DataFrame) -> list[str]:
    """Say what a reader must know: protocol, faces, layers, rounding, missing cells, and what the numbers mean."""
    kind = KINDS[name]
    shown = table[table["seeds"] > 0]
    metrics = set(table["metric"])
    said = [*_places(shown), *(_faces(shown) if kind.paper and name != "time" else [])]
    said += [SHARED["accuracy"]] if "accuracy" in metrics else []
    said += [SHARED["cosines"]] if name in ("table1", "table2", "table3", "lambda", "sweep", "baselines") else []
    if "attention_cosine" in metrics:
        said.append(f"ATT-COS is that of the deepest guided layer{_layers(shown) if name == 'table2' else ''}.")
    said += [*OF_KIND.get(name, ()), *_spans(name)]
    said.append("Ours: mean ± standard deviation over seeds (number of seeds).")
    if kind.paper and name != "time":
        said.append("The paper truncates to two decimals and selects on the test set.")
    return [*said, *_legend(table)]


def _places(shown: pd.DataFrame) -> Iterator[str]:
    if shown["attribute"].notna().any():
        shown = shown[shown["attribute"] == ""]
    found = zip(shown["dataset"], shown["protocol"], shown["images"].astype(int), strict=True)
    for dataset, protocol, count in dict.fromkeys(found):
        yield f"{dataset}, protocol {protocol}: {PROTOCOLS[protocol]}; {count} test faces."


def _faces(shown: pd.DataFrame) -> Iterator[str]:
    official = paper.images()
    found = zip(shown["dataset"], shown["images"].astype(int), strict=True)
    for dataset, count in dict.fromkeys(found):
        if dataset not in official:
            yield f"The paper has no numbers for {dataset}."
        elif count != official[dataset]:
            yield (
                f"{dataset}: the paper's numbers are for {official[dataset]} test faces, not for these {count}; "
                "the difference does not say how well the paper is reproduced."
            )


def _layers(table: pd.DataFrame) -> str:
    """Name the deepest guided layer, of which ATT-COS is, of every method where that is not 5."""
    found: dict[str, set[int]] = {}
    for method, names in zip(table["method"], table["layers"], strict=True):
        found.setdefault(method, set()).add(max(map(int, names.split("+"))))
    others = [
        f"{method_name(method)}: {' or '.join(map(str, sorted(found[method])))}"
        for method in sorted(found, key=[*METHODS, *found].index)
        if found[method] != {5}
    ]
    return f", 5 ({', '.join(others)})" if others else ", 5"


def _spans(name: str) -> Iterator[str]:
    """Say between which numbers the paper's table lies, where that is all we know of most of its cells."""
    if name in ("table1", "baselines") and (plain := paper.span("table1", "cam_cosine", "plain", "rafdb")):
        yield f"The paper's CAM-COS on RAF-DB lie between {plain[0]:.2f} and {plain[1]:.2f} without AU (Table 1)."
    if name in ("table2", "baselines"):
        plain, guided = (paper.span("table2", "attention_cosine", variant) for variant in ("plain", "au"))
        if plain and guided:
            yield (
                f"The paper's ATT-COS lie between {plain[0]:.2f} and {plain[1]:.2f} without AU and between "
                f"{guided[0]:.2f} and {guided[1]:.2f} with AU (Table 2, all methods, both datasets)."
            )
    if name == "baselines":
        yield "They are of other faces and landmarks than these baselines, and can be compared with them only roughly."


def _legend(table: pd.DataFrame) -> Iterator[str]:
    states = set(table["state"])
    said = [f"{UNKNOWN}: not known to us", f"{PENDING}: no run yet"]
    said += [f"{STALE}: made under another configuration, so not shown"] if "stale" in states else []
    said += ["n of m: so many of the seeds are there"] if "partial" in states else []
    yield "; ".join([*said, f"{NO_CAM}: the method has no CAM."])
