import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

from au_guidance.expressions import Expression
from eval import predict as predict_module
from eval.predict import predict, predict_untrained
from eval.records.predictions import read_predictions
from pipeline.errors import UserError
from pipeline.storage import shards
from tests.support.constructed import Constructed, score_run
from train.card.schema import Card
from train.checkpoints.checkpoint import LABELS, read_metadata, save
from train.data.prepared import Prepared
from train.data.transforms import evaluation_input
from train.methods.base import Method, Output, build_method

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
    quality = shards.read_all(card.data.folder / "landmarks", "quality")["quality"][rows]
    np.testing.assert_array_equal(columns["landmark_quality"], quality)
    assert set(columns["face"]) == {"ok"}
    for row, source in enumerate(rows):
        image = evaluation_input(prepared.image(source), 64)
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
    assert read_predictions(tmp_path / "p.h5").mode == prepared.alignment["mode"] == "similarity"
    assert 0 < sum(has_map) < len(rows)


def test_real_checkpoint_goes_all_the_way(make_card: MakeCard, prepared_folder: Path, tmp_path: Path) -> None:
    card = make_card(model__backbone="resnet18", guidance__layers=[3, 5])
    prepared = Prepared(prepared_folder, card.heatmap)
    torch.manual_seed(0)
    method = build_method(card).eval()
    save(tmp_path / "checkpoint.safetensors", method.state_dict(), card, prepared, {})
    predict(tmp_path / "checkpoint.safetensors", tmp_path / "p.h5", batch_size=5)
    predictions = read_predictions(tmp_path / "p.h5")
    images = torch.stack([evaluation_input(prepared.image(row), 64) for row in prepared.rows("test")])
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
    scores = score_run(predictions)
    assert set(scores["attention_cosine"]) == {"1", "2", "3", "4", "5"}
    assert 0 < scores["cam_cosine"] < 1
    assert scores["commit"] == read_metadata(tmp_path / "checkpoint.safetensors")["commit"]


def test_predict_says_where_it_comes_from(checkpoint: SimpleNamespace, tmp_path: Path) -> None:
    predict(checkpoint.path, tmp_path / "p.h5")
    stored = shards.Shard(tmp_path / "p.h5").attributes
    assert stored["checkpoint"] == hashlib.sha256(b"weights").hexdigest()
    assert stored["commit"] == "abc123"
    assert read_predictions(tmp_path / "p.h5").card == checkpoint.loaded.card


def test_predict_looks_where_it_is_told(
    checkpoint: SimpleNamespace, tmp_path: Path, prepared_folder: Path, make_card: MakeCard
) -> None:
    checkpoint.loaded.card = make_card(data__folder="/nowhere")
    predict(checkpoint.path, tmp_path / "p.h5", data=prepared_folder)
    assert read_predictions(tmp_path / "p.h5").card == make_card()


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
    predictions = read_predictions(tmp_path / "p.h5")
    assert predictions.cam is None
    assert score_run(predictions)["cam_cosine"] is None


def test_predict_refuses_logits_that_are_not_finite(
    checkpoint: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
        read_predictions(prepared_folder / "landmarks" / "0.h5")
    with pytest.raises(UserError, match="does not exist"):
        read_predictions(tmp_path / "none.h5")


def test_predictions_of_another_version_are_one_line(make_card: MakeCard, tmp_path: Path) -> None:
    made = Constructed(make_card())
    path = made.write(tmp_path / "p.h5", attention_5=made.heatmaps)
    columns, stored = shards.read(path), shards.Shard(path).attributes
    card = json.loads(stored["card"])
    card["training"]["old_key"] = 1
    shards.write(path, columns, card=json.dumps(card), checkpoint="c0ffee", commit="abc123")
    with pytest.raises(
        UserError, match=r"p\.h5 was made by another version \(training: .*old_key.*run eval\.predict again"
    ):
        read_predictions(path)
    shards.write(path, columns, card=stored["card"], commit="abc123")
    with pytest.raises(UserError, match=r"p\.h5 does not say its 'checkpoint'; make it again"):
        read_predictions(path)


def test_labels_are_in_the_order_of_the_class_ids() -> None:
    assert LABELS[Expression.SADNESS] == "sadness"


def write_card(card: Card, path: Path) -> Path:
    path.write_text(yaml.safe_dump(card.model_dump(mode="json")))
    return path


def test_untrained_network_has_random_weights_of_the_card_s_seed(make_card: MakeCard, tmp_path: Path) -> None:
    found = []
    for number, seed in enumerate((0, 0, 1)):
        card = write_card(make_card(seed=seed), tmp_path / f"{number}.yaml")
        predict_untrained(card, tmp_path / f"{number}.h5")
        found.append(read_predictions(tmp_path / f"{number}.h5"))
    assert found[0].checkpoint == "untrained"
    assert found[0].card == make_card()
    assert (found[0].logits == found[1].logits).all()
    assert (found[0].logits != found[2].logits).any()
    torch.manual_seed(0)
    method, prepared = build_method(make_card()).eval(), Prepared(make_card().data.folder, make_card().heatmap)
    with torch.inference_mode():
        output = method(torch.stack([evaluation_input(prepared.image(row), 64) for row in prepared.rows("test")]))
    assert found[0].logits == pytest.approx(output.logits.numpy(), rel=1e-4, abs=1e-5)


def test_untrained_network_needs_no_pretrained_weights(make_card: MakeCard, tmp_path: Path) -> None:
    changes = {"model__backbone": "resnet18", "model__weights": str(tmp_path / "none")}
    given = write_card(make_card(model__init="imagenet", **changes), tmp_path / "given.yaml")
    random = write_card(make_card(model__init="none", **changes), tmp_path / "random.yaml")
    predict_untrained(given, tmp_path / "given.h5")
    predict_untrained(random, tmp_path / "random.h5")
    found = [read_predictions(tmp_path / f"{name}.h5") for name in ("given", "random")]
    assert (found[0].logits == found[1].logits).all()
    assert found[0].card.model.init == "imagenet"


def test_untrained_from_the_command_line(make_card: MakeCard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = write_card(make_card(), tmp_path / "run.yaml")
    command = ["eval.predict", str(card), "--untrained", "--out", str(tmp_path / "u.h5")]
    monkeypatch.setattr("sys.argv", command)
    predict_module.main()
    assert read_predictions(tmp_path / "u.h5").attention[5].shape[0] == 21
