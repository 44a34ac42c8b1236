import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from au_guidance.expressions import SIX, Expression
from eval.metrics.per_face import measure_faces
from eval.records.predictions import read_predictions
from eval.score import write_scores
from pipeline.errors import UserError
from tests.support.constructed import Constructed, score_run
from train.card.schema import Card
from train.checkpoints.checkpoint import LABELS

MakeCard = Callable[..., Card]


def test_score_of_a_perfect_and_of_a_blind_network(make_card: MakeCard, tmp_path: Path) -> None:
    made = Constructed(make_card())
    perfect = made.write(tmp_path / "a.h5", cam=made.heatmaps, attention_5=made.heatmaps)
    blind = made.write(
        tmp_path / "b.h5", logits=made.right(wrong=7), cam=np.zeros((21, 7, 7)), attention_5=np.ones((21, 7, 7))
    )
    scores = score_run(read_predictions(perfect))
    assert scores["accuracy"] == scores["balanced_accuracy"] == scores["macro_f1"] == 1
    assert scores["cam_cosine"] == pytest.approx(1, abs=1e-5)
    assert scores["attention_cosine"] == {"5": pytest.approx(1, abs=1e-5)}
    scores = score_run(read_predictions(blind))
    assert scores["accuracy"] == pytest.approx(14 / 21)
    assert scores["cam_cosine"] == 0
    # The cosine with a constant map is the mean of a heatmap over its root mean square.
    flat = [h.mean() / np.sqrt((h.astype(float) ** 2).mean()) for h in made.heatmaps[made.valid]]
    assert scores["attention_cosine_micro"]["5"] == pytest.approx(np.mean(flat), abs=1e-5)
    of_class = made.expressions[made.valid]
    macro = np.mean([np.mean([c for c, e in zip(flat, of_class, strict=True) if e == six]) for six in SIX])
    assert scores["attention_cosine"]["5"] == pytest.approx(macro, abs=1e-5)


def test_score_counts_and_leaves_neutral_out_of_cosines(make_card: MakeCard, tmp_path: Path) -> None:
    made = Constructed(make_card())
    scores = score_run(read_predictions(made.write(tmp_path / "p.h5", cam=made.heatmaps, attention_5=made.heatmaps)))
    assert scores["images"] == 21
    assert scores["images_with_map"] == made.valid.sum() < 18.5
    neutral, fear = scores["per_class"]["neutral"], scores["per_class"]["fear"]
    assert (neutral["images"], neutral["images_with_map"], neutral["cam_cosine"]) == (3, 0, None)
    assert neutral["attention_cosine"] == {"5": None}
    assert fear["cam_cosine"] == pytest.approx(1, abs=1e-5)
    assert scores["confusion"] == (3 * np.eye(7, dtype=int)).tolist()
    assert scores["labels"] == LABELS


def test_numbers_are_nan_without_a_heatmap_only(make_card: MakeCard, tmp_path: Path) -> None:
    made = Constructed(make_card(guidance__layers=[3]))
    measured = measure_faces(read_predictions(made.write(tmp_path / "p.h5", attention_3=np.ones((21, 4, 4)))))
    assert measured.kinds == ("attention",)
    for name, values in measured.values.items():
        if name != "attention_retrieval_predicted":  # nor where Neutral is predicted
            assert np.isfinite(values).tolist() == made.valid.tolist(), name


def test_card_chooses_how_attention_is_read_out(make_card: MakeCard, tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((21, 7, 7))
    found = []
    for mode in ("half_pixel", "published"):
        made = Constructed(make_card(guidance__resize=mode))
        scores = score_run(read_predictions(made.write(tmp_path / f"{mode}.h5", cam=values, attention_5=values)))
        found.append((scores["cam_cosine"], scores["attention_cosine"]["5"]))
    (cam, corrected), (same_cam, published) = found
    assert cam == same_cam
    assert cam == pytest.approx(corrected, abs=1e-5)
    assert abs(published - corrected) > 1e-3


def test_scores_file_tells_its_origin(make_card: MakeCard, tmp_path: Path) -> None:
    made = Constructed(make_card(variant="au", seed=3, guidance__weight=4.0, guidance__layers=[4, 5]))
    path = made.write(tmp_path / "p.h5", cam=made.heatmaps, attention_4=made.heatmaps, attention_5=made.heatmaps)
    write_scores(path, tmp_path / "scores.json")
    scores = json.loads((tmp_path / "scores.json").read_text())
    origin = {"dataset": "small", "method": "cam", "variant": "au", "weight": 4.0, "layers": [4, 5], "seed": 3}
    assert {key: scores[key] for key in origin} == origin
    assert (scores["protocol"], scores["checkpoint"], scores["commit"]) == ("heldout", "c0ffee", "abc123")


def test_matrices_by_hand_stand_beside_the_scores(make_card: MakeCard, tmp_path: Path) -> None:
    made = Constructed(make_card())
    made.valid &= made.expressions != Expression.DISGUST
    flat = np.ones((21, 7, 7))
    path = made.write(
        tmp_path / "p.h5", logits=made.right(wrong=7), cam=made.heatmaps, attention_3=flat, attention_5=made.heatmaps
    )
    write_scores(path, tmp_path / "run" / "scores.json")
    tables = ["confusion.csv", "cosines.csv", "images.csv"]
    assert sorted(file.name for file in (tmp_path / "run").iterdir()) == [*tables, "scores.json"]
    confusion = pd.read_csv(tmp_path / "run" / "confusion.csv", index_col="true")
    assert confusion.index.tolist() == confusion.columns.tolist() == LABELS
    expected = np.zeros((7, 7), int)
    for row, expression in enumerate(made.expressions.astype(int)):
        expected[expression, (expression + (row < 7)) % 7] += 1
    assert confusion.to_numpy().tolist() == expected.tolist()
    cosines = pd.read_csv(tmp_path / "run" / "cosines.csv", index_col="expression")
    assert cosines.index.tolist() == ["happiness", "surprise", "fear", "anger", "disgust", "sadness", "average"]
    assert cosines.columns.tolist() == ["layer-3", "layer-5", "cam"]
    assert cosines.loc["disgust"].isna().all()
    fear = [h.mean() / np.sqrt((h.astype(float) ** 2).mean()) for h in made.heatmaps[made.of_class(Expression.FEAR)]]
    assert cosines.loc["fear", "layer-3"] == pytest.approx(np.mean(fear), abs=1e-5)
    assert cosines.loc["average", "layer-3"] == pytest.approx(cosines["layer-3"].iloc[:6].mean())
    assert cosines.loc["average", "cam"] == pytest.approx(1, abs=1e-5)


def test_a_method_without_cam_has_no_column_for_it(make_card: MakeCard, tmp_path: Path) -> None:
    made = Constructed(make_card())
    write_scores(made.write(tmp_path / "p.h5", attention_5=made.heatmaps), tmp_path / "scores.json")
    header = (tmp_path / "cosines.csv").read_text().splitlines()[0]
    assert header == "expression,layer-5"


def test_score_without_any_heatmap_is_an_error_and_no_file(make_card: MakeCard, tmp_path: Path) -> None:
    made = Constructed(make_card())
    made.valid[:] = False
    nothing = made.write(tmp_path / "n.h5", attention_5=made.heatmaps)
    with pytest.raises(UserError, match="no test face has an AU heatmap"):
        write_scores(nothing, tmp_path / "scores.json")
    assert not (tmp_path / "scores.json").exists()


def test_data_that_changed_since_is_noticed(make_card: MakeCard, tmp_path: Path) -> None:
    made = Constructed(make_card())
    made.valid[:] = True  # claims that Neutral faces have heatmaps
    with pytest.raises(UserError, match="has changed since"):
        score_run(read_predictions(made.write(tmp_path / "p.h5", attention_5=made.heatmaps)))
