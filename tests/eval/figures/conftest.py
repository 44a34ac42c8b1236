"""A pair of made-up runs with and without AU, and figures that are written quickly."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from au_guidance.expressions import Expression
from eval.figures import style
from eval.figures.faces import RunPair, read_pair
from tests.support.constructed import Constructed
from train.card.schema import Card


@pytest.fixture
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write figures with fewer pixels, which is quicker."""
    monkeypatch.setattr(style, "DPI", 100)


@pytest.fixture
def pair(make_card: Callable[..., Card], tmp_path: Path) -> RunPair:
    """Two runs: the maps of the first are uniform, those of the second the AU maps; each has wrong answers."""
    plain = Constructed(make_card(variant="plain", guidance__weight=0.0))
    au = Constructed(make_card())
    flat = np.ones((len(plain.ids), 4, 4))
    logits = plain.right()
    logits[plain.expressions == Expression.ANGER] = np.eye(7, dtype=np.float32)[Expression.FEAR]
    plain.write(tmp_path / "plain.h5", logits=logits, cam=flat, attention_5=flat)
    au.write(tmp_path / "au.h5", logits=au.right(2), cam=au.heatmaps, attention_5=au.heatmaps / 2)
    return read_pair(tmp_path / "plain.h5", tmp_path / "au.h5")
