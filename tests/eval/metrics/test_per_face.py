"""What every face is measured by, and how it gets into the scores and the row of the face."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from au_guidance.expressions import Expression
from eval.metrics.names import MEASURES
from eval.metrics.per_face import measure_faces
from eval.metrics.training_means import read_means, write_means
from eval.records.predictions import ORDERED, Predictions, read_predictions
from eval.score import write_scores
from pipeline.errors import UserError
from tests.support.constructed import Constructed, score_run
from train.card.schema import Card, Heatmap
from train.checkpoints.checkpoint import LABELS

MakeCard = Callable[..., Card]


@pytest.fixture(scope="module")
def means_path(prepared_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("means") / "means.npz"
    write_means(prepared_folder, Heatmap(), path)
    return path


def noisy(made: Constructed, amount: float = 0.5) -> np.ndarray:
    """Heatmaps, and for Neutral nothing, with noise on a grid of 7x7."""
    return 0.5 * made.heatmaps[:, 16::32, 16::32] + amount * np.random.default_rng(0).random((21, 7, 7))


def test_every_measure_of_a_perfect_network_and_of_one_that_paints_the_class(
    make_card: MakeCard, tmp_path: Path, means_path: Path
) -> None:
    made = Constructed(make_card())
    means = read_means(means_path)
    known = np.flatnonzero(made.expressions != Expression.NEUTRAL)
    painted = np.zeros_like(made.heatmaps)
    painted[known] = means.class_mean[np.searchsorted(np.array(ORDERED), made.expressions[known])]
    path = made.write(tmp_path / "p.h5", cam=painted, attention_5=made.heatmaps)
    maps = score_run(read_predictions(path), means)["maps"]
    perfect, class_mean = maps["attention"], maps["cam"]
    for name in ("cosine", "pearson", "relevance_rank", "f1", "iou", "auc_judd", "retrieval_true"):
        assert perfect[name]["macro"] == pytest.approx(1, abs=1e-3), name
    assert perfect["skill"] == pytest.approx(1, abs=1e-4)
    assert perfect["baselines"]["ceiling"] == pytest.approx(1, abs=1e-4)
    assert class_mean["cosine"]["macro"] == pytest.approx(class_mean["baselines"]["class_mean"], abs=1e-4)
    assert (
        class_mean["baselines"]["predicted_class_mean"] == class_mean["baselines"]["class_mean"]
    )  # all answers are right
    agnostic = class_mean["baselines"]["class_agnostic"]
    assert class_mean["skill"] == pytest.approx((class_mean["cosine"]["macro"] - agnostic) / (1 - agnostic))
    # The painted map is the same for all faces of a class; the heatmap itself is more its own face's than others'.
    assert class_mean["specificity"]["macro"] == pytest.approx(0, abs=1e-4)
    assert perfect["specificity"]["macro"] > 0.005
    assert perfect["specificity"]["macro"] == pytest.approx(1 - perfect["baselines"]["other_face"], abs=1e-4)
    assert np.trace(perfect["retrieval_confusion"]) == made.valid.sum()
    assert perfect["own_minus_other"]["macro"] > 0.2


def test_a_map_of_nothing_and_a_uniform_map(make_card: MakeCard, tmp_path: Path, means_path: Path) -> None:
    made = Constructed(make_card())
    path = made.write(tmp_path / "p.h5", cam=np.zeros((21, 7, 7)), attention_5=np.ones((21, 7, 7)))
    maps = score_run(read_predictions(path), read_means(means_path))["maps"]
    for name in ("cosine", "pearson", "retrieval_true", "own_minus_other"):
        assert maps["cam"][name]["macro"] == 0, name
    assert np.sum(maps["cam"]["retrieval_confusion"]) == 0
    assert maps["attention"]["cosine"]["macro"] == pytest.approx(maps["attention"]["baselines"]["uniform"], abs=1e-6)
    assert maps["attention"]["auc_judd"]["macro"] == 0.5
    assert maps["attention"]["nss"]["macro"] == 0
    share = (made.heatmaps[made.valid] >= 0.5).mean(axis=(1, 2)).mean()
    assert maps["attention"]["relevance_mass"]["micro"] == pytest.approx(share, abs=1e-5)
    assert maps["attention"]["pointing_game"]["micro"] == pytest.approx(share, abs=1e-5)


def test_baselines_without_means_and_without_an_untrained_network_are_null(make_card: MakeCard, tmp_path: Path) -> None:
    made = Constructed(make_card())
    maps = score_run(read_predictions(made.write(tmp_path / "p.h5", attention_5=noisy(made))))["maps"]
    assert list(maps) == ["attention"]
    absent = {name for name, value in maps["attention"]["baselines"].items() if value is None}
    assert absent == {"face_gaussian", "landmarks", "class_agnostic", "class_mean", "predicted_class_mean", "untrained"}
    assert maps["attention"]["skill"] is None


def test_untrained_network_is_a_baseline_on_the_same_faces(make_card: MakeCard, tmp_path: Path) -> None:
    made = Constructed(make_card())
    run = read_predictions(made.write(tmp_path / "p.h5", cam=made.heatmaps, attention_5=made.heatmaps))
    other = read_predictions(made.write(tmp_path / "u.h5", cam=noisy(made), attention_5=noisy(made, 0.2)))
    maps, alone = score_run(run, untrained=other)["maps"], score_run(other)["maps"]
    for kind in ("cam", "attention"):
        assert maps[kind]["baselines"]["untrained"] == pytest.approx(alone[kind]["cosine"]["macro"])
    strange = Constructed(make_card(method="wildcat"))
    for path in (
        strange.write(tmp_path / "s.h5", cam=noisy(made), attention_5=noisy(made)),
        made.write(tmp_path / "no_cam.h5", attention_5=noisy(made)),
    ):
        with pytest.raises(UserError, match="is of another network or other faces"):
            score_run(run, untrained=read_predictions(path))


def test_rows_of_faces_average_to_the_scores(make_card: MakeCard, tmp_path: Path, means_path: Path) -> None:
    made = Constructed(make_card(guidance__layers=[3, 5]))
    maps = {"cam": noisy(made), "attention_3": noisy(made, 0.1), "attention_5": noisy(made, 0.2)}
    gender = ["female", "male", ""] * 7
    found = {"face": ["ok", "several", "whole_image"] * 7, "step": ["plain", "low_threshold", ""] * 7}
    found |= {"score": [0.5, 0.25, np.nan] * 7, "landmark_quality": np.linspace(0, 1, 21)}
    path = made.write(tmp_path / "p.h5", logits=made.right(wrong=7), attribute_gender=gender, **found, **maps)
    other = made.write(tmp_path / "u.h5", **maps)
    write_scores(path, tmp_path / "run" / "scores.json", means=means_path, untrained=other)
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    images = pd.read_csv(tmp_path / "run" / "images.csv", keep_default_na=False, na_values={"cam_cosine": ""})
    assert images["id"].tolist() == made.ids.tolist()
    assert images["expression"].tolist() == [LABELS[expression] for expression in made.expressions]
    assert images["predicted"].tolist() == [LABELS[said] for said in made.right(wrong=7).argmax(1)]
    assert images["gender"].tolist() == gender
    assert (images["face"].tolist(), images["step"].tolist()) == (found["face"], found["step"])
    assert images["score"].tolist() == ["0.5", "0.25", ""] * 7
    assert images["landmark_quality"].tolist() == pytest.approx(found["landmark_quality"], abs=1e-6)
    assert images["correct"].mean() == pytest.approx(scores["accuracy"])
    assert images["valid"].tolist() == made.valid.astype(int).tolist()
    assert images["confidence"].tolist() == pytest.approx([np.e / (np.e + 6)] * 21)
    assert np.isfinite(images["cam_cosine"]).tolist() == made.valid.tolist()
    images = pd.read_csv(tmp_path / "run" / "images.csv")
    of_class = images[images["valid"] == 1].groupby("expression")
    for kind in ("cam", "attention"):
        for name in MEASURES:
            triple, column = scores["maps"][kind][name], of_class[f"{kind}_{name}"].mean()
            assert triple["macro"] == pytest.approx(column.mean(), abs=1e-6), (kind, name)
            assert triple["micro"] == pytest.approx(images[f"{kind}_{name}"].mean(), abs=1e-6), (kind, name)
            assert triple["per_class"] == pytest.approx(dict(column), abs=1e-6), (kind, name)
        for name, value in scores["maps"][kind]["baselines"].items():
            column = f"baseline_{name}" if f"baseline_{name}" in images else f"{kind}_baseline_{name}"
            assert value == pytest.approx(of_class[column].mean().mean(), abs=1e-6), (kind, name)
        matched = images[images["valid"] == 1]
        counts = pd.crosstab(matched["expression"], matched[f"{kind}_retrieved"])
        labels = [expression.label for expression in ORDERED]
        found = counts.reindex(index=labels, columns=labels, fill_value=0).to_numpy()
        assert scores["maps"][kind]["retrieval_confusion"] == found.tolist()
    assert scores["maps"]["attention"]["cosine"]["macro"] == scores["attention_cosine"]["5"]
    assert scores["maps"]["cam"]["cosine"]["macro"] == scores["cam_cosine"]
    assert images["attention_cosine_5"].equals(images["attention_cosine"])
    assert scores["groups"]["gender"]["male"]["accuracy"] == images["correct"][images["gender"] == "male"].mean()
    assert scores["groups"]["gender"]["unknown"]["images"] == 7
    assert scores["calibration"]["nll"] == pytest.approx(
        -np.mean(np.log(np.where(images["correct"] == 1, np.e, 1) / (np.e + 6)))
    )
    assert scores["card"] == made.card.digest()
    assert scores["map"] == "own"


def test_landmark_failures_are_counted_by_group(make_card: MakeCard, tmp_path: Path) -> None:
    made = Constructed(make_card())
    lost = made.ids == "test_004"
    group = np.where(lost | (np.arange(21) < 3), "a", "b")
    scores = score_run(read_predictions(made.write(tmp_path / "p.h5", attention_5=noisy(made), attribute_g=group)))
    found = scores["groups"]["g"]
    assert found["a"]["without_landmarks"] == pytest.approx(1 / (group == "a").sum())
    assert found["b"]["without_landmarks"] == 0
    cosines = measure_faces(read_predictions(tmp_path / "p.h5")).values["attention_cosine"]
    assert found["b"]["attention_cosine"] == pytest.approx(np.nanmean(cosines[group == "b"]))


def test_faces_are_measured_alike_in_batches_of_any_size(
    make_card: MakeCard, tmp_path: Path, means_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Constructed(make_card())
    predictions = read_predictions(made.write(tmp_path / "p.h5", cam=noisy(made), attention_5=noisy(made, 0.2)))
    together = measure_faces(predictions, read_means(means_path))
    real = Predictions.class_heatmaps
    monkeypatch.setattr(Predictions, "class_heatmaps", lambda self: real(self, 4))
    apart = measure_faces(predictions, read_means(means_path))
    assert list(together.values) == list(apart.values)
    for name, values in together.values.items():
        np.testing.assert_allclose(apart.values[name], values, atol=1e-6, err_msg=name)
    assert (together.matched["cam"] == apart.matched["cam"]).all()


def test_truly_active_aus_are_another_truth(make_card: MakeCard, tmp_path: Path) -> None:
    # The codebook's Happiness is 6, 12 and 25; these faces truly show what its Anger asks for, and one shows nothing.
    made = Constructed(make_card())
    happy = np.flatnonzero(made.of_class(Expression.HAPPINESS))
    words = np.full(21, "", object)
    words[happy] = "4;5;7;10;17;23;24;25;26"
    words[happy[0]] = ""
    predictions = read_predictions(made.write(tmp_path / "p.h5", attention_5=made.heatmaps, attribute_active_aus=words))
    angry = np.stack([predictions.heatmap(row, Expression.ANGER) for row in happy[1:]])
    assert (predictions.true_heatmap(happy[1]) == angry[0]).all()
    own = made.heatmaps[happy[1:]].astype(float)
    cosines = (own * angry).sum((1, 2)) / np.sqrt((own**2).sum((1, 2)) * (angry.astype(float) ** 2).sum((1, 2)))
    truth = score_run(predictions)["truth"]
    assert truth["images"] == len(happy) - 1
    assert truth["heatmap"]["macro"] == pytest.approx(cosines.mean(), abs=1e-5)
    assert truth["attention"]["macro"] == pytest.approx(cosines.mean(), abs=1e-3)
    assert truth["attention"]["per_class"]["anger"] is None
    seeing = made.heatmaps.copy()
    seeing[happy[1:]] = angry
    found = score_run(read_predictions(made.write(tmp_path / "q.h5", attention_5=seeing, attribute_active_aus=words)))[
        "truth"
    ]
    assert found["attention"]["macro"] == pytest.approx(1, abs=1e-5)
    assert score_run(read_predictions(made.write(tmp_path / "r.h5", attention_5=seeing)))["truth"] is None


def test_predictions_without_the_guided_layer_or_with_nan_are_refused(make_card: MakeCard, tmp_path: Path) -> None:
    made = Constructed(make_card())
    with pytest.raises(UserError, match=r"no attention of layer 5; run eval\.predict again"):
        score_run(read_predictions(made.write(tmp_path / "p.h5", attention_3=noisy(made))))
    broken = noisy(made)
    broken[np.flatnonzero(made.valid)[0], 0, 0] = np.nan
    with pytest.raises(UserError, match="not finite"):
        score_run(read_predictions(made.write(tmp_path / "q.h5", attention_5=broken)))
