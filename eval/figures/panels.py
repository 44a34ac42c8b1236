"""Single faces: the image, its AU map, CAM and attention without and with AU (the paper's Fig. 4)."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from au_guidance.expressions import SIX, Expression
from eval.figures import style
from eval.figures.faces import SIDES, Face, RunPair, overlay
from eval.tables.layout import guidance_name, method_name
from pipeline.errors import UserError

TITLES = {
    "image": "face", "heatmap": "AU map", "cam_plain": "CAM\nwithout", "cam_au": "CAM\nwith AU",
    "attention_plain": "ATT\nwithout", "attention_au": "ATT\nwith AU",
}  # fmt: skip


def draw_panels(pair: RunPair, out: Path, *, seed: int) -> None:
    """Draw one face per expression, sampled by seed from the faces with an AU map.

    All maps are in [0, 1] and share one colour scale. Below a map is its cosine with the AU map; beside the face are
    the answers without and with AU.
    """
    faces = list(pair.faces(sample(pair, seed)))
    columns = [name for name in TITLES if name in ("image", "heatmap") or name.partition("_")[0] in pair.kinds]
    with style.figure(18 + 13.7 * len(faces), tight=True) as drawn:
        grid = drawn.subplots(len(faces), len(columns), squeeze=False)
        for line, face in zip(grid, faces, strict=True):
            for axes, name in zip(line, columns, strict=True):
                _panel(axes, face, name)
            text = "{}\n→ {}\nAU → {}".format(face.expression.label, *_answers(pair, face))
            line[0].set_ylabel(text, rotation=0, ha="right", va="center", fontsize=5.5)
        for axes, name in zip(grid[0], columns, strict=True):
            axes.set_title(TITLES[name], fontsize=6.5)
        card = pair.au.card
        place = f"{method_name(card.method)}, {guidance_name(card.guidance.weight, card.guidance.layers)}"
        drawn.suptitle(f"{place}: {card.dataset} ({card.protocol}), seed {card.seed}", fontsize=7)
        scale = matplotlib.colors.Normalize(0, 1)
        style.colour_bar(drawn, list(grid.flat), scale, location="bottom", fraction=0.02, aspect=50)
        style.save(drawn, out, _table(pair, faces))


def sample(pair: RunPair, seed: int) -> list[int]:
    """Sample the row of one face with an AU map for each expression that has one."""
    rng = np.random.default_rng(seed)
    rows = []
    for expression in SIX:
        candidates = np.flatnonzero(pair.au.valid & (pair.au.expressions == expression))
        rows += [int(rng.choice(candidates))] if len(candidates) else []
    if not rows:
        raise UserError(f"{pair.au.path}: no test face has an AU heatmap; check the landmarks of the dataset")
    return rows


def _panel(axes: Axes, face: Face, name: str) -> None:
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.imshow(face.image if name == "image" else overlay(face.image, face.maps[name], style.MAP))
    if name in face.cosines:
        axes.set_xlabel(f"{face.cosines[name]:.2f}", fontsize=6, labelpad=1.5)


def _answers(pair: RunPair, face: Face) -> list[str]:
    return [Expression(pair.predicted[side][face.row]).label for side in SIDES]


def _table(pair: RunPair, faces: Sequence[Face]) -> pd.DataFrame:
    rows = []
    for face in faces:
        row: dict[str, object] = {"id": face.name, "expression": face.expression.label}
        for side, answer in zip(SIDES, _answers(pair, face), strict=True):
            row |= {f"predicted_{side}": answer, f"probability_{side}": pair.probabilities[side][face.row]}
        rows.append(row | {f"{name}_cosine": value for name, value in face.cosines.items()})
    return pd.DataFrame(rows)
