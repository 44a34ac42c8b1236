"""The model card of an exported network, filled from its scores; where there are none it says so."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from eval.export.scores import Evaluated, Number
from eval.metrics.baselines import SKILL
from eval.tables.layout import guidance_name, method_name
from train.card.schema import Card

LICENCE = "research-only-weights"
NOT_EVALUATED = "not evaluated"
NAMES = {
    "accuracy": ("Accuracy", "share of right answers over all seven classes"),
    "balanced_accuracy": ("Balanced accuracy", "mean of the classes' recalls"),
    "macro_f1": ("Macro F1", "mean of the classes' F1"),
    "cam_cosine": ("CAM-COS", "cosine of the class map of the true class and the AU heatmap, macro over expressions"),
    "attention_cosine": ("ATT-COS", "the same of the channel mean of layer {layer}"),
}
KINDS = {"cam_cosine": "cam", "attention_cosine": "attention"}
PROTOCOLS = {
    "heldout": "the epoch was selected on a held-out part of the training set; the test set was used once",
    "paper": "the epoch was selected on the test set, as in the paper's code, so the numbers are optimistic",
}
BASELINE = (
    "The baseline is what one and the same map for every face, the mean of the AU heatmaps over classes, scores here."
)
GROUPS = (
    "Cosines are means over faces here. Groups differ in their expressions too, so a difference need not be about the "
    "attribute."
)
USE = """## Use

With the code of the project on the path, from the folder that holds this one:

```python
from eval.export import load_hub
from train.data.transforms import standardise

method = load_hub("{folder}")
output = method(standardise(faces, "{normalisation}"))  # aligned faces (b, 3, {size}, {size}), RGB in [0, 1]
labels, maps = output.logits.argmax(1), method.cam(output, output.logits.argmax(1))
```
"""
LIMITS = """## Intended use and limits

For research on facial expression recognition and on whether a network looks where experts look. Not for diagnosis, nor
for hiring, policing, education or any other decision about a person. An expression is not an emotion: the network names
what a face shows, as annotators of pictures named it, not what somebody feels.

{trained} What it does on other people, ages, cameras and cultures is unknown; public face data are not balanced
between groups, and accuracy differs between them. A map tells where a network looks, not that its answer is right, and
a high cosine is worth only what it has above its baselines.
"""
LICENCES = """## Licences

The code is MIT. The weights are for research only where they were trained on RAF-DB or AffectNet, which may not be
passed on. The landmark weights of dlib and FAN, which placed the AU heatmaps, exclude commercial use. The synthetic
faces of the project are free of all that.
"""


def card_text(card: Card, config: Mapping[str, Any], found: Evaluated | None, folder: str) -> str:
    """Write the model card, README.md of a folder in the layout of the Hugging Face hub, in Markdown.

    `config` is what config.json says; `found` None means that nobody has evaluated the network.
    """
    layer = max(card.guidance.layers)
    asked = card.guidance
    method, guidance = method_name(card.method), guidance_name(asked.weight, asked.layers, asked.map)
    trained = config["training_faces"]
    faces = f"It was trained on {trained} faces of the dataset {card.dataset}." if trained else (
        f"It was trained on faces of the dataset {card.dataset}; how many is not recorded."
    )  # fmt: skip
    parts = [
        _front_matter(card, found),
        f"# {method} ({guidance}) on {card.dataset}\n",
        f"A network that names one of seven facial expressions in an aligned face and shows where it looks. Method "
        f"{method}, backbone {card.model.backbone}, AU guidance: {guidance}, seed {card.seed}; code at commit "
        f"{config['commit']}.\n",
        USE.format(folder=folder, size=card.model.image_size, normalisation=card.model.normalisation),
        _data(card, found, faces),
        _results(found, layer),
        _calibration(found, config),
        _groups(found),
        LIMITS.format(trained=faces),
        LICENCES,
    ]
    return "\n".join(parts)


def _front_matter(card: Card, found: Evaluated | None) -> str:
    tags = ["facial-expression-recognition", "action-units", "interpretability", card.method, card.model.backbone]
    matter: dict[str, Any] = {
        "license": "other",
        "license_name": LICENCE,
        "pipeline_tag": "image-classification",
        "tags": tags,
        "metrics": ["accuracy", "f1"],
    }
    if found:
        names = {"accuracy": "accuracy", "macro_f1": "f1"}
        metrics = [{"type": kind, "value": found.numbers[name].value} for name, kind in names.items()]
        result = {
            "task": {"type": "image-classification"},
            "dataset": {"type": card.dataset, "name": card.dataset},
            "metrics": metrics,
        }
        matter["model-index"] = [{"name": f"{card.method}-{card.variant}", "results": [result]}]
    return f"---\n{yaml.safe_dump(matter, sort_keys=False)}---\n"


def _data(card: Card, found: Evaluated | None, trained: str) -> str:
    tested = f"Test faces: {NOT_EVALUATED}."
    if found:
        counts = found.scores["images"], found.scores["images_with_map"]
        tested = "It was tested on {} faces, {} of which have an AU heatmap.".format(*counts)
    heatmap = f"AU heatmaps are of the codebook {card.heatmap.codebook} and the geometry {card.heatmap.geometry}."
    return (
        f"## Data and protocol\n\n{trained} {tested} {heatmap}\n\n"
        f"Protocol {card.protocol}: {PROTOCOLS[card.protocol]}.\n"
    )


def _results(found: Evaluated | None, layer: int) -> str:
    if found is None:
        return f"## Results\n\n{NOT_EVALUATED}\n"
    rows = [
        (title, _shown(found.numbers[name]), _baseline(found, name), meaning.format(layer=layer))
        for name, (title, meaning) in NAMES.items()
    ]
    note = "Brackets are 95 % intervals of the bootstrap over test faces. " if _any_interval(found) else ""
    table = _table(("number", "value", "baseline", "what it is"), rows)
    return f"## Results\n\n{table}\n{note}{BASELINE}\n"


def _any_interval(found: Evaluated) -> bool:
    return any(number.interval for number in found.numbers.values())


def _baseline(found: Evaluated, name: str) -> str:
    if name not in KINDS:
        return ""
    levels = found.scores["maps"].get(KINDS[name], {}).get("baselines", {})
    return _value(levels.get(SKILL))


def _calibration(found: Evaluated | None, config: Mapping[str, Any]) -> str:
    if found is None:
        return f"## Calibration\n\n{NOT_EVALUATED}\n"
    said = f"Expected calibration error {_value(found.scores['calibration'].get('ece'))} over the test faces, 15 bins"
    temperature = config.get("temperature")
    more = f"; dividing the logits by {temperature:.3g} calibrates them on the validation faces" if temperature else ""
    return f"## Calibration\n\n{said}{more}.\n"


def _groups(found: Evaluated | None) -> str:
    if found is None:
        return f"## Groups\n\n{NOT_EVALUATED}\n"
    if not found.scores["groups"]:
        return "## Groups\n\nThe test faces come without attributes of people, so nothing is known about groups.\n"
    text = _table(("attribute", "group", "faces", "accuracy", "CAM-COS", "ATT-COS"), list(_group_rows(found)))
    return f"## Groups\n\n{text}\n{GROUPS}\n"


def _group_rows(found: Evaluated) -> Iterator[tuple[str, ...]]:
    for attribute, values in found.scores["groups"].items():
        for value, numbers in values.items():
            shown = [_bounded(numbers, name) for name in ("accuracy", "cam_cosine", "attention_cosine")]
            yield (attribute, value, str(numbers["images"]), *shown)


def _bounded(numbers: Mapping[str, Any], name: str) -> str:
    low, high = numbers.get(f"{name}_low"), numbers.get(f"{name}_high")
    bounds = "" if low is None or high is None else f" [{low:.3f}, {high:.3f}]"
    return _value(numbers.get(name)) + bounds


def _shown(number: Number) -> str:
    bounds = f" [{number.interval.low:.3f}, {number.interval.high:.3f}]" if number.interval else ""
    return _value(number.value) + bounds


def _value(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(_cell(cell) for cell in line)} |\n" for line in lines)


def _cell(text: str) -> str:
    """Keep a name from outside in its cell."""
    return " ".join(str(text).replace("|", "\\|").split())
