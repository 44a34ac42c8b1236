"""The comparison of landmark extractors: known errors, cosines and movements come out as they were put in."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from au_guidance.expressions import Expression
from benchmarks import landmarks as benchmark
from pipeline.extractors import dataset, dlib, mesh

MOVED = np.array([3.0, -4.0], np.float32)  # 5 pixels of the crop


def shifted(faces):
    """The truth, moved by a known way."""
    found = dataset.extract(faces)
    return replace(found, points=found.points + MOVED)


def missing(faces):
    """The truth, but none for one face."""
    found = dataset.extract(faces)
    points = found.points.copy()
    points[faces.ids.index("fear")] = np.nan
    return replace(found, points=points)


@pytest.fixture(scope="module")
def compared():
    extractors = {"truth": dataset.extract, "shifted": shifted, "missing": missing}
    return benchmark.compare(extractors, 2, seed=4)


def find(summary, number, of, extractor):
    return summary[(summary["number"] == number) & (summary["of"] == of) & (summary["extractor"] == extractor)]


def value(summary, number, of, extractor):
    return find(summary, number, of, extractor)["value"].item()


def test_the_truth_has_no_error_and_its_own_map(compared):
    own = compared[compared["extractor"] == "truth"]
    assert len(own) == 14
    assert own["found"].eq(1).all()
    assert own[["error", *benchmark.REGIONS, "shifted", "noisy"]].abs().max(axis=None) < 1e-5
    assert own["AU map cosine"].dropna().to_numpy() == pytest.approx(np.ones(12), abs=1e-3)  # none for Neutral


def test_a_known_shift_is_the_error(compared):
    """Five pixels of the crop, in units of the distance of the outer eye corners there."""
    truth = {}

    def record(faces):
        found = dataset.extract(faces)
        truth.setdefault(faces.ids[0] + str(len(truth)), found.points)
        return found

    benchmark.compare({"record": record}, 1, seed=4)
    points = next(iter(truth.values()))
    expected = 5 / np.linalg.norm(points[:, 45] - points[:, 36], axis=1)
    own = compared[(compared["extractor"] == "shifted") & (compared["person"] == 0)]
    for column in ("error", *benchmark.REGIONS):
        assert own[column].to_numpy() == pytest.approx(expected, rel=1e-4)
    assert own["AU map cosine"].dropna().between(0.5, 0.99).all()
    assert own[["shifted", "noisy"]].max(axis=None) < 1e-5  # moved alike in every crop


def test_a_summary_has_means_and_intervals_over_people(compared):
    summary = benchmark.summarise(compared)
    own = compared[compared["extractor"] == "shifted"]
    by_person = own.groupby("person")["error"].mean()
    row = find(summary, "error", "all", "shifted").iloc[0]
    assert row["value"] == pytest.approx(by_person.mean())
    assert (row["low"], row["high"]) == pytest.approx((by_person.min(), by_person.max()))
    assert value(summary, "found", "all", "missing") == pytest.approx(12 / 14)
    assert value(summary, "error", "anger", "missing") < 1e-5
    assert find(summary, "error", "fear", "missing").empty
    fear = own.loc[own["expression"] == "fear", "AU map cosine"].mean()
    assert value(summary, "AU map cosine", "fear", "shifted") == pytest.approx(fear)
    assert "neutral" not in set(summary.loc[summary["number"] == "AU map cosine", "of"])
    text = benchmark.table(summary)
    assert f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]" in text
    assert text.splitlines()[0].split() == ["extractor", "truth", "shifted", "missing"]


def test_movements_are_quantiles_over_faces():
    faces = pd.DataFrame({"extractor": "one", "person": [0, 0, 1], "expression": "anger", "found": 1.0, "ms": 2.0,
                          "shifted": [0.1, 0.2, 0.3], "noisy": [0.0, 0.5, 1.0]})  # fmt: skip
    faces = faces.assign(**dict.fromkeys(("error", *benchmark.REGIONS, "AU map cosine"), 0.5))
    summary = benchmark.summarise(faces)
    assert value(summary, "movement, shifted", "median", "one") == pytest.approx(0.2)
    assert value(summary, "movement, noisy", "90th percentile", "one") == pytest.approx(0.9)
    assert value(summary, "ms a face", "all", "one") == 2


def test_real_extractors_are_near_the_truth_and_others_are_left_out_with_a_reason(capsys):
    extractors = benchmark._offline(["dlib", "mesh", "face_alignment"])
    assert list(extractors)[:2] == ["dlib", "mesh"]
    printed = capsys.readouterr().out
    assert "left out: dataset: it returns the truth" in printed
    assert ("face_alignment" in extractors) != ("left out: face_alignment: 2DFAN4" in printed)
    compared = benchmark.compare({"mesh": mesh.extract, "dlib": dlib.extract}, 1, seed=4)
    assert compared.groupby("extractor")["error"].max().max() < 0.1
    assert compared["shifted"].max() < 0.05
    assert set(compared["expression"]) == {expression.label for expression in Expression}
