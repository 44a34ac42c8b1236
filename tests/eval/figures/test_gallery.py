"""The gallery: right and wrong faces of every class."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from au_guidance.expressions import Expression
from eval.figures import gallery
from eval.figures.faces import RunPair, read_pair
from tests.support.constructed import Constructed
from tests.support.figures import command
from train.card.schema import Card

pytestmark = pytest.mark.usefixtures("coarse")


def test_gallery_holds_right_and_wrong_faces_of_every_class(
    pair: RunPair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out" / "gallery"
    out.mkdir(parents=True)
    (out / "old.jpg").touch()
    command(gallery, monkeypatch, pair.plain.path, pair.au.path, "--faces", 2, "--out", out)
    listed = json.loads((out / "gallery.json").read_text())
    assert [one["expression"] for one in listed] == [one.label for one in Expression for _ in range(2)]
    anger = [one for one in listed if one["expression"] == "anger"]
    assert {one["predicted_plain"] for one in anger} == {"fear"}
    assert not any(one["correct_plain"] for one in anger)
    named = {file for one in listed for file in one["files"].values()}
    assert {path.name for path in out.iterdir()} == {*named, "gallery.json"}
    face = next(one for one in listed if "heatmap" in one["files"])
    assert face["cosines"]["attention_au"] > 0.99
    assert 1 / 7 < face["probabilities"]["au"] < 1
    assert cv2.imread(str(out / face["files"]["cam_au"])).shape == (224, 224, 3)
    neutral = next(one for one in listed if one["expression"] == "neutral")
    assert "heatmap" not in neutral["files"]
    first = (out / "gallery.json").read_text()
    command(gallery, monkeypatch, pair.plain.path, pair.au.path, "--faces", 2, "--out", out)
    assert (out / "gallery.json").read_text() == first
    with pytest.raises(SystemExit, match="must be at least 1"):
        command(gallery, monkeypatch, pair.plain.path, pair.au.path, "--faces", 0, "--out", out)


def test_half_of_the_gallery_is_wrong_where_there_are_enough(make_card: Callable[..., Card], tmp_path: Path) -> None:
    plain, au = Constructed(make_card(variant="plain", guidance__weight=0.0)), Constructed(make_card())
    one_wrong = plain.right()
    for expression in Expression:
        row = np.flatnonzero(plain.expressions == expression)[0]
        one_wrong[row] = np.eye(7, dtype=np.float32)[(expression + 1) % 7]
    plain.write(tmp_path / "p.h5", logits=one_wrong, attention_5=np.ones((21, 2, 2)))
    au.write(tmp_path / "a.h5", attention_5=np.ones((21, 2, 2)))
    pair = read_pair(tmp_path / "p.h5", tmp_path / "a.h5")
    rows = gallery.sample(pair, 2, seed=0)
    wrong = (pair.predicted["plain"] != pair.plain.expressions)[rows]
    assert wrong.reshape(7, 2).sum(1).tolist() == [1] * 7
    assert len(set(gallery.sample(pair, 8, seed=0))) == 21
    assert pair.kinds == ["attention"]
