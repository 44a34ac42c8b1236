"""Images and videos explained: probabilities, maps, sentences, files, and the same answers alone and in batches."""

import json
import subprocess
import sys
import weakref

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from eval.explain import __main__ as command
from eval.explain.explainer import LABELS, Explainer
from eval.explain.explanation import MEANING, percent
from eval.explain.inputs import list_inputs
from eval.explain.outputs import document
from eval.published.importing import import_folder
from eval.records.predictions import read_predictions
from pipeline.errors import UserError
from pipeline.storage import images
from tests.support.paths import ROOT
from tests.support.released import write_config, write_model

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def explainer(trained):
    return Explainer(trained / "run" / "checkpoint.safetensors")


@pytest.fixture(scope="module")
def pictures(trained):
    """The test faces: path by id."""
    ids = predictions_of(trained).ids
    return {name: next((trained / "generated").rglob(f"{name}.jpg")) for name in ids}


def predictions_of(folder):
    return read_predictions(folder / "run" / "predictions.h5")


def checkpoint_of(trained):
    return trained / "run" / "checkpoint.safetensors"


def test_it_is_the_answer_of_the_evaluation(trained, explainer, pictures, monkeypatch):
    """Crops of the evaluation went through JPEG once more, hence the tolerance."""
    monkeypatch.chdir(trained)
    predictions = predictions_of(trained)
    logits = torch.from_numpy(predictions.logits.astype(np.float64)) / explainer.temperature
    for row, name in enumerate(predictions.ids):
        (face,) = explainer.explain(images.read(pictures[name]))
        expected = logits[row].softmax(0).numpy()
        np.testing.assert_allclose([face.probabilities[label] for label in LABELS], expected, atol=0.05)
        assert face.points is not None
        own = face.attention[5] / np.linalg.norm(face.attention[5])
        stored = cv2.resize(predictions.attention[5][row].astype(np.float32), (224, 224))
        assert (own * stored).sum() / np.linalg.norm(stored) > 0.98


def test_alone_and_among_others_it_is_the_same(explainer, pictures):
    read_pictures = [images.read(path) for path in pictures.values()]
    together = list(explainer.explain_all(read_pictures, batch_size=5))
    for picture, faces in zip(read_pictures, together, strict=True):
        alone = explainer.explain(picture)
        assert len(alone) == len(faces) == 1
        assert document("x", alone)["faces"][0]["label"] == document("x", faces)["faces"][0]["label"]
        for label in LABELS:
            assert alone[0].probabilities[label] == pytest.approx(faces[0].probabilities[label], abs=1e-5)
        for label, values in alone[0].cams.items():
            np.testing.assert_allclose(values, faces[0].cams[label], atol=1e-3)


def test_probabilities_readings_and_words(explainer, pictures):
    for path in list(pictures.values())[:7]:
        (face,) = explainer.explain(images.read(path), every_class=True)
        assert sum(face.probabilities.values()) == pytest.approx(1)
        assert (face.domain, face.calibrated) == ("drawings", False)  # it has a temperature, of drawn faces
        assert set(face.cams) == set(LABELS)
        assert [reading.expression for reading in face.readings["cam"]] == face.ranked[:2]
        assert face.words[0].startswith(f"{face.label}, {percent(face.probabilities[face.label])}. ")
        second = face.probabilities[face.ranked[1]]
        assert any(text.startswith(f"runner-up: {face.ranked[1]}, ") for text in face.words) == (second >= 0.05)
        assert MEANING in face.words
        assert all(values.min() >= 0 and values.max() <= 1 for values in face.cams.values())
        unsure = face.probabilities[face.label] < 0.5
        assert unsure == any("unsure" in warning for warning in face.warnings)


@pytest.mark.parametrize(
    ("probability", "text"),
    [(1.0, ">99 %"), (0.996, ">99 %"), (0.994, "99 %"), (0.85, "85 %"), (0.012, "1 %"), (0.004, "<1 %"), (0.0, "<1 %")],
)
def test_no_probability_is_written_as_certain(probability, text):
    assert percent(probability) == text


def test_all_faces_are_explained_and_none_is_reported(explainer, pictures, tmp_path):
    three = [cv2.resize(images.read(path), (160, 160)) for path in list(pictures.values())[:3]]
    explained = explainer.explain(cv2.hconcat(three))
    assert len(explained) == 3
    centres = sorted((face.box[0] + face.box[2]) / 2 for face in explained)
    assert all(160 * place < centre < 160 * (place + 1) for place, centre in enumerate(centres))
    assert {face.status for face in explained} == {"several"}
    assert explainer.explain(np.full((160, 160, 3), 120, np.uint8)) == []
    Image.new("RGB", (160, 160)).save(tmp_path / "wall.png")
    (item,) = list_inputs([str(tmp_path / "wall.png")])
    assert command.sentences(item, []).startswith(f"{tmp_path}/wall.png: no face found; ")


def test_the_matrix_leads_from_the_picture_to_the_face(explainer, pictures):
    picture = images.read(next(iter(pictures.values())))
    (face,) = explainer.explain(picture)
    again = cv2.warpAffine(picture, face.matrix, (224, 224))
    assert np.abs(again.astype(float) - face.face).mean() < 12
    corners = face.matrix[:, :2] @ face.box.reshape(2, 2).T + face.matrix[:, 2:]
    assert ((corners > -40) & (corners < 264)).all()


@pytest.mark.parametrize("wrong", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3)), np.zeros((9, 9, 4), np.uint8)])
def test_an_array_of_another_kind_is_refused(explainer, wrong):
    with pytest.raises(ValueError, match="an image is RGB"):
        explainer.explain(wrong)


def run_command(*arguments):
    call = [sys.executable, "-m", "eval.explain", *map(str, arguments)]
    return subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_command_on_a_folder(trained, pictures, tmp_path):
    folder = tmp_path / "in" / "deep <b>"
    folder.mkdir(parents=True)
    for number, path in enumerate(list(pictures.values())[:2]):
        (folder / f"{number}.jpg").write_bytes(path.read_bytes())
    (folder / "0.png").write_bytes(next(iter(pictures.values())).read_bytes())
    (folder / "broken.jpg").write_bytes(b"no picture")
    done = run_command(tmp_path / "in", "--checkpoint", checkpoint_of(trained), "--out", tmp_path / "out")
    assert done.returncode == 1
    assert "broken.jpg: unreadable: no image" in done.stderr
    assert done.stderr.rstrip().splitlines()[-1] == (
        "error: 1 of the files could not be explained completely; the lines above say why"
    )
    made = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*"))
    expected = [f"deep <b>/{name}.explained.{kind}" for name in ("0", "0.png", "1") for kind in ("json", "npz", "png")]
    assert made == sorted([*expected, "index.html", "summary.csv"])
    table = pd.read_csv(tmp_path / "out" / "summary.csv")
    assert table["status"].tolist() == ["unreadable", "ok", "ok", "ok"]
    assert table["results"].tolist()[1:] == [f"deep <b>/{name}.explained" for name in ("0", "0.png", "1")]
    content = json.loads((tmp_path / "out" / "deep <b>" / "1.explained.json").read_text())
    assert content["faces"][0]["words"][0] in done.stdout
    with np.load(tmp_path / "out" / "deep <b>" / "1.explained.npz") as stored:
        assert stored["face1"].shape == (224, 224, 3)
        assert stored[f"face1_cam_{content['faces'][0]['label']}"].max() <= 1
        assert "face1_attention_5" in stored.files
    with Image.open(tmp_path / "out" / "deep <b>" / "1.explained.png") as panel:
        assert panel.width > 900


@pytest.mark.slow
def test_the_command_without_faces(trained, pictures, tmp_path):
    """A run's folder names its network; a picture and a film give maps and numbers only."""
    path = next(iter(pictures.values()))
    film = cv2.VideoWriter(str(tmp_path / "film.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10, (160, 160))
    for _ in range(3):
        film.write(cv2.resize(cv2.imread(str(path)), (160, 160)))
    film.release()
    out = tmp_path / "out"
    assert not command.explain([str(path), str(tmp_path / "film.mp4")], trained / "run", out, with_faces=False)
    made = {file.name for file in out.iterdir()}
    results = {f"{path.stem}.explained.{kind}" for kind in ("json", "npz", "png")}
    assert made == results | {"film.explained.csv", "summary.csv", "index.html"}
    assert pd.read_csv(out / "film.explained.csv")["frame"].tolist() == [0, 1, 2]
    with np.load(out / f"{path.stem}.explained.npz") as stored:
        assert {name.split("_")[1] for name in stored.files} == {"cam", "attention"}
    page = (out / "index.html").read_text()
    assert "image/jpeg" not in page
    assert ".mp4" not in page.replace("film.mp4", "")


@pytest.mark.slow
def test_the_command_as_json_on_a_pattern(trained, pictures):
    folder = next(iter(pictures.values())).parent
    pattern = f"{folder}/{next(iter(pictures)).split('_')[0]}_*.jpg"
    done = run_command(pattern, "--checkpoint", checkpoint_of(trained), "--json")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == 7
    described = (ROOT / "docs" / "explain.md").read_text()
    for key in {key for line in lines for face in line["faces"] for key in face}:
        assert f"`{key}`" in described, key
    for key in {key for line in lines for reading in line["faces"][0]["readings"]["cam"] for key in reading}:
        assert f"`{key}`" in described, key


def test_one_bad_file_does_not_end_the_rest(trained, pictures, tmp_path, capsys):
    (tmp_path / "film.mp4").write_bytes(b"no film")
    Image.open(next(iter(pictures.values()))).save(tmp_path / "good.dat", "PNG")
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    paths = [str(tmp_path / name) for name in ("film.mp4", "bad.jpg", "film.mp4", "good.dat")]
    assert command.explain(paths, checkpoint_of(trained), tmp_path / "out") == 2
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *(f"good.explained.{kind}" for kind in ("json", "npz", "png")),
        "index.html",
        "summary.csv",
    ]
    table = pd.read_csv(tmp_path / "out" / "summary.csv")
    assert sorted(table["status"]) == ["ok", "unreadable", "unreadable"]
    assert "film.mp4 cannot be read as a film" in capsys.readouterr().err
    assert command.explain(paths[1:], checkpoint_of(trained), None, as_json=True) == 2
    told = capsys.readouterr()
    assert [json.loads(line)["image"] for line in told.out.splitlines()] == [paths[-1]]
    assert "a film needs a folder" in told.err
    with pytest.raises(UserError, match="is not a checkpoint"):
        command.explain(paths, tmp_path / "film.mp4", None)


def test_no_input_is_replaced(trained, pictures, tmp_path, capsys):
    """`--out .` replaced the pictures of the folder."""
    photo = next(iter(pictures.values())).read_bytes()
    (tmp_path / "photo.png").write_bytes(photo)
    command.explain([str(tmp_path)], checkpoint_of(trained), tmp_path)
    (tmp_path / "photo.jpg").symlink_to(tmp_path / "photo.explained.png")
    panel = (tmp_path / "photo.explained.png").read_bytes()
    command.explain([str(tmp_path / "photo.png")], checkpoint_of(trained), tmp_path)
    for name in ("photo.explained.png", "photo.jpg"):
        with pytest.raises(UserError, match=r"photo\.explained\.png would replace a file that is read"):
            command.explain([str(tmp_path / "photo.png"), str(tmp_path / name)], checkpoint_of(trained), tmp_path)
    assert (tmp_path / "photo.png").read_bytes() == photo
    assert (tmp_path / "photo.explained.png").read_bytes() == panel


def test_one_picture_is_held_at_a_time(explainer, pictures):
    alive = []

    def made():
        for _ in range(5):
            image = images.read(next(iter(pictures.values())))
            assert not any(reference() is not None for reference in alive)
            alive.append(weakref.ref(image))
            yield image
            del image

    assert len(list(explainer.explain_all(made(), batch_size=4))) == 5


def test_the_whole_image_may_be_the_face(trained, pictures):
    face = images.read(next(iter(pictures.values())))
    grey = np.full_like(face, 120)
    explainer = Explainer(checkpoint_of(trained), whole_image=True)
    for each in (explainer, explainer.for_films()):
        (explained,) = each.explain(grey)
        assert (explained.status, explained.box.tolist()) == (
            "whole_image",
            [-0.5, -0.5, *(side - 0.5 for side in face.shape[1::-1])],
        )


@pytest.mark.slow
def test_an_imported_checkpoint_explains_too(tmp_path, pictures):
    folder = write_config(tmp_path / "released", "CAM")
    write_model(folder)
    import_folder(folder, tmp_path / "checkpoint.safetensors")
    explainer = Explainer(tmp_path / "checkpoint.safetensors")
    (face,) = explainer.explain(images.read(next(iter(pictures.values()))))
    assert not face.calibrated
    assert face.attention.keys() >= {5}
    assert face.readings["cam"][0].expression == face.label
