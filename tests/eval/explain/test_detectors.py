"""Which detector, with which options, searches pictures and films."""

import json

import numpy as np
import pytest

from eval.explain import explainer as module
from eval.explain import video
from eval.explain.films.reading import Frame
from pipeline.detectors import blaze, dlib


@pytest.mark.parametrize(
    ("alignment", "function", "pictures", "films"),
    [
        ({"detector": "blaze"}, blaze.detect_all, {}, {"windows": "4"}),
        (
            {"detector": "blaze", "detector_options": json.dumps({"windows": "8"})},
            blaze.detect_all,
            *[{"windows": "8"}] * 2,
        ),
        ({"detector": "dataset"}, blaze.detect_all, {}, {"windows": "4"}),
        ({"detector": "mtcnn", "detector_options": json.dumps({"steps": "3"})}, blaze.detect_all, {}, {"windows": "4"}),
        (
            {"detector": "dlib", "detector_options": json.dumps({"weights": "w"})},
            dlib.detect_all,
            *[{"weights": "w"}] * 2,
        ),
    ],
)
def test_films_are_searched_less_finely_unless_the_checkpoint_says_otherwise(alignment, function, pictures, films):
    for defaults, options in ((None, pictures), (module.FILM, films)):
        detect_all = module._detector(alignment, defaults)
        assert (detect_all.func, detect_all.keywords) == (function, options)


def test_an_explainer_for_films_leaves_the_other_as_it_is():
    explainer = module.Explainer.__new__(module.Explainer)
    explainer.alignment = {"detector": "blaze"}
    explainer.detect_all = module._detector(explainer.alignment)
    assert explainer.for_films().detect_all.keywords == {"windows": "4"}
    assert explainer.detect_all.keywords == {}


def test_a_video_is_searched_as_a_film(tmp_path, monkeypatch):
    searched = []
    explainer = module.Explainer.__new__(module.Explainer)
    explainer.alignment = {"detector": "blaze", "size": 224, "mode": "face"}
    monkeypatch.setattr(blaze, "_faces", lambda image, step: searched.append(step.parts) or iter(()))
    frames = [Frame(np.zeros((48, 64, 3), np.uint8), number / 25) for number in range(2)]
    explained = video._write_explained(explainer, frames, tmp_path / "film", 25.0, 4)
    assert (explained.n_frames, explained.n_faces, explained.n_rows) == (2, 0, 0)
    assert set(searched) <= {1, 2, 4}
