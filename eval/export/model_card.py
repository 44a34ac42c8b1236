"""The model card of an exported network, filled from its scores; it says so if there are none."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from eval.export import card_numbers
from eval.export.scores import Evaluation
from eval.tables.layout import PROTOCOLS, guidance_name, method_name
from train.card.schema import Card

LICENCE = "research-only-weights"
NOT_EVALUATED = "not evaluated"
OPTIMISTIC = {"paper": " The numbers are optimistic."}  # of a protocol
USE = """## Use

From the folder that contains this one, with the project on the Python path:

```python
from eval.export.hub import load_hub
from train.data.transforms import standardise

method = load_hub("{folder}")
output = method(standardise(faces, "{normalisation}"))  # aligned faces (b, 3, {size}, {size}), RGB in [0, 1]
labels, maps = output.logits.argmax(1), method.cam(output, output.logits.argmax(1))
```
"""
LIMITS = """## Intended use and limits

For research on facial expression recognition and on whether a network looks where experts look. Not for diagnosis, nor
for hiring, policing, education or any other decision about a person. An expression is not an emotion: the network
predicts what annotators saw in a picture, not what the person feels.

{trained} Its behaviour on other people, ages, cameras and cultures is unknown; public face data are not balanced
between groups, and accuracy differs between them. A map shows where a network looks, not that its answer is correct. A
cosine is informative only as far as it exceeds its baselines.
"""
LICENCES = """## Licences

The code is under the MIT licence. Weights trained on RAF-DB or AffectNet, which may not be redistributed, are for
research only, as are FER2013's pictures from the web; the project's synthetic faces are free of that.

{origin}{sources}
"""
ORIGINS = {  # of datasets, by the names that the shipped configs give them
    "fer2013": "FER2013 (Goodfellow et al., Challenges in Representation Learning, 2013) holds 35,887 grey pictures of "
    "48 px that an image search found on the web and people labelled, many of them wrongly; its terms name research "
    "only, and the rights in the pictures remain with their owners. None of them is in this folder.\n\n",
    "rafdb": "RAF-DB (Li, Deng and Du, CVPR 2017) is given to researchers on request, for non-commercial research.\n\n",
    "affectnet": "AffectNet (Mollahosseini et al., 2017) is given to researchers on request, for non-commercial "
    "research.\n\n",
}
DRAWN = (
    " These faces are drawn: about photographs of people its answers mean nothing, and its probabilities are "
    "calibrated for drawn faces only."
)
RESTRICTED = "trained on iBUG 300-W, which excludes commercial use"
TERMS = {  # of what detectors and extractors read
    "blaze": "MediaPipe's BlazeFace and FaceMesh (weights by Google, Apache-2.0)",
    "mesh": "MediaPipe's FaceMesh (weights by Google, Apache-2.0)",
    "dlib": f"dlib's 68-point weights, {RESTRICTED}",
    "face_alignment": f"the 2D-FAN weights, {RESTRICTED}",
    "dataset": "the annotations of the dataset",
    "published": "the files of the paper's authors",
}
UNRECORDED = (
    "Which extractor placed the landmarks of the AU heatmaps is not recorded. The weights of dlib and 2D-FAN were "
    f"{RESTRICTED}; MediaPipe's FaceMesh, by Google, is under Apache-2.0."
)


def card_text(
    card: Card,
    config: Mapping[str, Any],
    evaluation: Evaluation | None,
    folder: str,
    *,
    seeds: Sequence[Mapping[str, Any]] = (),
    command: str | None = None,
) -> str:
    """Write the model card, README.md of a folder in the layout of the Hugging Face hub, in Markdown.

    `config` is the content of config.json; `evaluation` is None for a network that was not evaluated. `seeds` are the
    scores of the same training with other seeds, `command` is what makes the folder again.
    """
    layer = max(card.guidance.layers)
    term = card.guidance
    method, guidance = method_name(card.method), guidance_name(term.weight, term.layers, term.map)
    trained = config["training_faces"]
    faces = f"It was trained on {trained} faces of the dataset {card.dataset}."
    if not trained:
        faces = f"It was trained on faces of the dataset {card.dataset}; how many is not recorded."
    if card.data.domain == "drawings":
        faces += DRAWN
    sections = {"Results": NOT_EVALUATED, "Calibration": NOT_EVALUATED, "Groups": NOT_EVALUATED}
    if evaluation:
        sections = {
            "Results": card_numbers.results(evaluation, layer),
            "Maps": card_numbers.maps(evaluation, layer),
            "Confusion": card_numbers.confusion(evaluation),
            "Seeds": card_numbers.spread(evaluation, seeds, layer),
            "Calibration": card_numbers.calibration(evaluation, config),
            "Groups": card_numbers.groups(evaluation),
        }
    parts = [
        _front_matter(card, evaluation),
        f"# {method} ({guidance}) on {card.dataset}\n",
        f"A network that classifies an aligned face into seven facial expressions and shows where it looks. Method "
        f"{method}, backbone {card.model.backbone}, AU guidance: {guidance}, seed {card.seed}; code at commit "
        f"{config['commit']}.\n",
        USE.format(folder=folder, size=card.model.image_size, normalisation=card.model.normalisation),
        _data(card, config, evaluation, faces),
        *(
            [f"## Make it again\n\n`{command}` makes this folder again, up to differences between processors.\n"]
            if command
            else []
        ),
        *(f"## {title}\n\n{text}\n" for title, text in sections.items()),
        LIMITS.format(trained=faces),
        LICENCES.format(origin=ORIGINS.get(card.dataset, ""), sources=_sources(config)),
    ]
    return "\n".join(parts)


def _front_matter(card: Card, evaluation: Evaluation | None) -> str:
    tags = ["facial-expression-recognition", "action-units", "interpretability", card.method, card.model.backbone]
    matter: dict[str, Any] = {
        "license": "other",
        "license_name": LICENCE,
        "pipeline_tag": "image-classification",
        "tags": tags,
        "metrics": ["accuracy", "f1"],
    }
    if evaluation:
        names = {"accuracy": "accuracy", "macro_f1": "f1"}
        metrics = [{"type": kind, "value": evaluation.numbers[name].value} for name, kind in names.items()]
        dataset = {"type": card.dataset, "name": card.dataset}
        result = {"task": {"type": "image-classification"}, "dataset": dataset, "metrics": metrics}
        matter["model-index"] = [{"name": f"{card.method}-{card.variant}", "results": [result]}]
    return f"---\n{yaml.safe_dump(matter, sort_keys=False)}---\n"


def _data(card: Card, config: Mapping[str, Any], evaluation: Evaluation | None, trained: str) -> str:
    tested = f"Test faces: {NOT_EVALUATED}."
    if evaluation:
        counts = evaluation.scores["images"], evaluation.scores["images_with_map"]
        tested = "It was tested on {} faces, {} of which have an AU heatmap.".format(*counts)
    heatmap = f"AU heatmaps are of the codebook {card.heatmap.codebook} and the geometry {card.heatmap.geometry}."
    selected = f" Validation: {config['validation']}." if "validation" in config else ""
    return (
        f"## Data and protocol\n\n{trained} {tested} {heatmap}\n\n"
        f"Protocol {card.protocol}: {PROTOCOLS[card.protocol]}.{selected}{OPTIMISTIC.get(card.protocol, '')}\n"
    )


def _sources(config: Mapping[str, Any]) -> str:
    """Name what found the training faces and placed their landmarks, and its terms."""
    detector, extractor = config["preprocessing"]["alignment"]["detector"], config["extractor"]
    found = "No detector was used." if detector == "none" else f"Faces were found with {_terms(detector)}."
    if extractor is None:
        return f"{found} {UNRECORDED}"
    return f"{found} The landmarks of the AU heatmaps were placed with {_terms(extractor)}."


def _terms(plugin: str) -> str:
    return TERMS.get(plugin, f"`{plugin}`, whose terms are its own")
