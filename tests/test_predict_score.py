import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from eval import predict as predict_module
from eval.measure import measure
from eval.predict import LABELS, predict
from eval.predictions import read
from eval.score import score, write_scores
from pipeline import shards
from pipeline.errors import UserError
from pipeline.expressions import SIX, Expression
from tests.constructed import Constructed
from train.checkpoint import read_meta, save
from train.config import Card
from train.data import Prepared
from train.method import Method, Output, build
from train.transforms import evaluation

MakeCard = Callable[..., Card]


class Plane(Method):
    """A network with answers known by hand: its features are the image, its maps multiples of the red plane."""

    def forward(self, images: Tensor, target: Tensor | None = None) -> Output:
        red = images[:, 0]
        maps = red[:, None] * torch.tensor([1.0, -1.0, 2.0, 3.0, 0.0, 5.0, 6.0])[None, :, None, None]
        return Output(logits=maps.mean((2, 3)), features={2: images[:, :, ::2, ::2], 5: images * 1e-3}, maps=maps)

    def cam(self, output: Output, classes: Tensor) -> Tensor | None:
        assert output.maps is not None
        return output.maps[torch.arange(len(classes)), classes]


class NoCam(Plane):
    def cam(self, output: Output, classes: Tensor) -> Tensor | None:
        return None


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_card: MakeCard) -> SimpleNamespace:
    loaded = SimpleNamespace(method=Plane(), card=make_card(), labels=LABELS, meta={"commit": "abc123"})
    monkeypatch.setattr(predict_module.checkpoint, "load", lambda path: loaded)
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(b"weights")
    return SimpleNamespace(loaded=loaded, path=path)


def test_predict_stores_what_the_network_says(checkpoint: SimpleNamespace, tmp_path: Path) -> None:
    predict(checkpoint.path, tmp_path / "p.h5", batch_size=4)
    columns, card = shards.read(tmp_path / "p.h5"), checkpoint.loaded.card
    prepared = Prepared(card.data.folder, card.heatmap)
    rows = np.flatnonzero(prepared.splits == "test")
    assert columns["id"].tolist() == prepared.ids[rows].tolist()
    assert columns["expression"].tolist() == prepared.expressions[rows].tolist()
    assert columns["identity"].tolist() == prepared.identities[rows].tolist()
    assert set(columns["attribute_gender"]) == {"female", "male"}
    for row, source in enumerate(rows):
        image = evaluation(prepared.image(source), 64)
        red, grey = image[0].numpy(), image.mean(0).numpy()
        assert columns["logits"][row, 0] == pytest.approx(red.mean(), abs=1e-5)
        assert columns["attention_5"][row] == pytest.approx(grey / np.abs(grey).max(), abs=3e-4)
        assert columns["attention_2"].shape[1:] == (32, 32)
        stretched = (red - red.min()) / (red.max() - red.min())
        expected = {0: stretched, 1: 1 - stretched, 4: 0 * stretched}.get(columns["expression"][row], stretched)
        assert columns["cam"][row] == pytest.approx(expected, abs=1e-3)
    assert columns["cam"].dtype == columns["attention_2"].dtype == np.float16
    has_map = [prepared.heatmap(row) is not None for row in rows]
    assert columns["valid"].tolist() == has_map
    assert 0 < sum(has_map) < len(rows)


def test_real_checkpoint_goes_all_the_way(make_card: MakeCard, prepared_folder: Path, tmp_path: Path) -> None:
    card = make_card(model__backbone="resnet18", guidance__layers=[3, 5])
    prepared = Prepared(prepared_folder, card.heatmap)
    torch.manual_seed(0)
    method = build(card).eval()
    save(tmp_path / "checkpoint.safetensors", method.state_dict(), card, prepared, {})
    predict(tmp_path / "checkpoint.safetensors", tmp_path / "p.h5", batch_size=5)
    predictions = read(tmp_path / "p.h5")
    images = torch.stack([evaluation(prepared.image(row), 64) for row in prepared.rows("test")])
    with torch.inference_mode():
        output = method(images)
    assert predictions.logits == pytest.approx(output.logits.numpy(), abs=1e-4)
    assert list(predictions.attention) == [1, 2, 3, 4, 5]
    for layer, stored in predictions.attention.items():
        mean = output.features[layer].mean(1).flatten(1).numpy()
        ours = stored.reshape(len(mean), -1).astype(np.float32)
        cosine = (mean * ours).sum(1) / np.linalg.norm(mean, axis=1) / np.linalg.norm(ours, axis=1)
        assert cosine == pytest.approx(np.ones(len(mean)), abs=1e-5)
    assert predictions.cam is not None
    assert predictions.cam.min() == 0
    assert predictions.cam.max() == 1
    scores = score(predictions)
    assert set(scores["attention_cosine"]) == {"1", "2", "3", "4", "5"}
    assert 0 < scores["cam_cosine"] < 1
    assert scores["commit"] == read_meta(tmp_path / "checkpoint.safetensors")["commit"]


def test_predict_says_where_it_comes_from(checkpoint: SimpleNamespace, tmp_path: Path) -> None:
    predict(checkpoint.path, tmp_path / "p.h5")
    stored = shards.attributes(tmp_path / "p.h5")
    assert stored["checkpoint"] == hashlib.sha256(b"weights").hexdigest()
    assert stored["commit"] == "abc123"
    assert read(tmp_path / "p.h5").card == checkpoint.loaded.card


def test_predict_looks_where_it_is_told(
    checkpoint: SimpleNamespace, tmp_path: Path, prepared_folder: Path, make_card: MakeCard
) -> None:
    checkpoint.loaded.card = make_card(data__folder="/nowhere")
    predict(checkpoint.path, tmp_path / "p.h5", data=prepared_folder)
    assert read(tmp_path / "p.h5").card == make_card()


def test_predict_holds_the_device_that_it_claims(
    checkpoint: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = []

    @contextmanager
    def claim() -> Iterator[torch.device]:
        held.append("claimed")
        yield torch.device("cpu")
        held.append("given back")

    real = Plane.forward
    monkeypatch.setattr(predict_module, "claim", claim)
    monkeypatch.setattr(Plane, "forward", lambda self, images: held.append("forward") or real(self, images))
    predict(checkpoint.path, tmp_path / "p.h5")
    assert held == ["claimed", "forward", "given back"]


def test_predict_twice_gives_the_same_file(checkpoint: SimpleNamespace, tmp_path: Path) -> None:
    predict(checkpoint.path, tmp_path / "a.h5")
    predict(checkpoint.path, tmp_path / "b.h5")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_predict_without_cam_has_no_cam_columns(checkpoint: SimpleNamespace, tmp_path: Path) -> None:
    checkpoint.loaded.method = NoCam()
    predict(checkpoint.path, tmp_path / "p.h5")
    predictions = read(tmp_path / "p.h5")
    assert predictions.cam is None
    assert score(predictions)["cam_cosine"] is None


def test_predict_refuses_other_labels_and_logits_that_are_not_finite(
    checkpoint: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint.loaded.labels = LABELS[::-1]
    with pytest.raises(UserError, match="labels are sadness"):
        predict(checkpoint.path, tmp_path / "p.h5")
    checkpoint.loaded.labels = LABELS
    real = Plane.forward
    monkeypatch.setattr(
        Plane,
        "forward",
        lambda self, images: Output(real(self, images).logits * torch.nan, real(self, images).features),
    )
    monkeypatch.setattr(Plane, "cam", lambda *_: None)
    with pytest.raises(UserError, match="not finite"):
        predict(checkpoint.path, tmp_path / "p.h5")
    assert not (tmp_path / "p.h5").exists()


def test_read_refuses_other_files(prepared_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no predictions file"):
        read(prepared_folder / "landmarks" / "0.h5")
    with pytest.raises(UserError, match="does not exist"):
        read(tmp_path / "none.h5")


def test_predictions_of_another_version_are_one_line(make_card: MakeCard, tmp_path: Path) -> None:
    made = Constructed(make_card())
    path = made.write(tmp_path / "p.h5", attention_5=made.heatmaps)
    columns, stored = shards.read(path), shards.attributes(path)
    card = json.loads(stored["card"])
    card["training"]["old_key"] = 1
    shards.write(path, columns, card=json.dumps(card), checkpoint="c0ffee", commit="abc123")
    with pytest.raises(
        UserError, match=r"p\.h5 was made by another version \(training: .*old_key.*run eval\.predict again"
    ):
        read(path)
    shards.write(path, columns, card=stored["card"], commit="abc123")
    with pytest.raises(UserError, match=r"p\.h5 does not say its 'checkpoint'; make it again"):
        read(path)


def test_score_of_a_perfect_and_of_a_blind_network(make_card: MakeCard, tmp_path: Path) -> None:
    made = Constructed(make_card())
    perfect = made.write(tmp_path / "a.h5", cam=made.heatmaps, attention_5=made.heatmaps)
    blind = made.write(
        tmp_path / "b.h5", logits=made.right(wrong=7), cam=np.zeros((21, 7, 7)), attention_5=np.ones((21, 7, 7))
    )
    scores = score(read(perfect))
    assert scores["accuracy"] == scores["balanced_accuracy"] == scores["macro_f1"] == 1
    assert scores["cam_cosine"] == pytest.approx(1, abs=1e-5)
    assert scores["attention_cosine"] == {"5": pytest.approx(1, abs=1e-5)}
    scores = score(read(blind))
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
    scores = score(read(made.write(tmp_path / "p.h5", cam=made.heatmaps, attention_5=made.heatmaps)))
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
    measured = measure(read(made.write(tmp_path / "p.h5", attention_3=np.ones((21, 4, 4)))))
    assert measured.kinds == ("attention",)
    for name, values in measured.values.items():
        if name != "attention_retrieval_predicted":  # nor where Neutral is predicted
            assert np.isfinite(values).tolist() == made.valid.tolist(), name


def test_card_chooses_how_attention_is_read_out(make_card: MakeCard, tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((21, 7, 7))
    found = []
    for mode in ("half_pixel", "published"):
        made = Constructed(make_card(guidance__resize=mode))
        scores = score(read(made.write(tmp_path / f"{mode}.h5", cam=values, attention_5=values)))
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
        score(read(made.write(tmp_path / "p.h5", attention_5=made.heatmaps)))


def test_labels_are_in_the_order_of_the_class_ids() -> None:
    assert LABELS[Expression.SADNESS] == "sadness"
