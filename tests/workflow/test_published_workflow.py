"""`snakemake published` on a small RAF-DB and an archive of which one folder is whole and one broken."""

import copy
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from eval.published.importing import archive
from eval.records.predictions import read_predictions
from pipeline.sources import rafdb
from pipeline.sources.rafdb import EXPRESSIONS as RAFDB
from pipeline.storage import shards
from tests.support.datasets import write
from tests.support.faces import face_picture, mean_face
from tests.support.released import write_config, write_model
from tests.support.tiny import CONFIG, snakemake


def write_rafdb(root):
    """Two faces of every class, one for training and one to test, upright and centred."""
    rng, lines = np.random.default_rng(0), []
    five = np.array([[38.3, 51.7], [73.5, 51.5], [56.0, 71.7], [41.5, 92.4], [70.7, 92.2]]) * 96 / 112
    points = "".join(f"{x:.2f}\t{y:.2f}\n" for x, y in five)
    for split in ("train", "test"):
        for label, expression in RAFDB.items():
            name = f"{split}_{label:04d}"
            lines.append(f"{name}.jpg {label}\n")
            path = root / "basic" / "Image" / "original" / f"{name}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), face_picture(expression, rng)[..., ::-1])
            write(root / "basic/Annotation/boundingbox" / f"{name}_boundingbox.txt", "10.0 8.0 86.0 92.0 \n")
            write(root / "basic/Annotation/manual" / f"{name}_manu_attri.txt", f"{points}1\n2\n3\n")
    write(root / "basic" / rafdb.LABEL_LIST, "".join(lines))


def write_folds(folder):
    """The authors' landmarks of these faces; of the first test face there are none."""
    for split in ("train", "test"):
        rows = []
        for label in RAFDB:
            points = np.full((68, 2), np.inf) if (split, label) == ("test", 1) else mean_face()
            numbers = ",".join(map(str, points.T.ravel().tolist()))
            rows.append(f"basic/Image/our_aligned/{split}_{label:04d}.jpg,{numbers}\n")
        write(folder / "wsol-done-right-splits/RAF-DB" / split / "landmarks.txt", "".join(rows))


def write_archive(root):
    places = {place[:3]: place.folder for place in archive(root)}
    write_model(write_config(places["rafdb", "tscam", "au"], "TSCAM"))
    write_config(places["rafdb", "cam", "plain"], "CAM", align_atten_to_heatmap="false")
    (places["rafdb", "cam", "plain"] / "model.pt").write_bytes(b"cut off")


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("authors")
    made = copy.deepcopy(CONFIG)
    made["heatmap"] = {"geometry": "symmetric"}
    made["datasets"]["raf"] = {
        "source": "rafdb", "root": str(folder / "RAF-DB"), "detector": "dataset", "extractor": "dlib", "shards": 2,
    }  # fmt: skip
    made["published"] = {"root": str(folder / "shared-trained-models"), "folds": str(folder / "folds")}
    return made


@pytest.mark.slow
def test_what_is_not_there_is_said_in_one_line(config, tmp_path):
    for changes, said in (
        ({}, "FG_FER does not exist: unpack the authors' files"),
        ({"published": None}, "`snakemake published` needs the key published"),
        ({"datasets": CONFIG["datasets"]}, "a dataset with the source rafdb or affectnet"),
    ):
        done = snakemake(tmp_path, "--dry-run", "published", config=config | changes)
        text = done.stdout + done.stderr
        assert done.returncode != 0
        assert said in text
        assert "Traceback" not in text


@pytest.mark.slow
def test_the_authors_networks_are_evaluated_on_the_users_faces(config, tmp_path):
    write_rafdb(Path(config["datasets"]["raf"]["root"]))
    write_folds(Path(config["published"]["folds"]))
    write_archive(Path(config["published"]["root"]))
    done = snakemake(tmp_path, "published", config=config)
    assert done.returncode == 0, done.stdout + done.stderr
    out = tmp_path / "out" / "published"
    report = pd.read_csv(out / "import.csv", keep_default_na=False)
    assert report["status"].value_counts().to_dict() == {"missing": 42, "imported": 1, "failed": 1}
    predictions = read_predictions(out / "rafdb" / "tscam" / "au" / "predictions.h5")
    assert len(predictions.ids) == 7
    assert predictions.valid.sum() == 5  # no Neutral, and one without landmarks
    prepared = predictions.card.data.folder.name
    faces = shards.Shard(tmp_path / "out" / "data" / prepared / "faces" / "0.h5").attributes
    assert (prepared, faces["size"], faces["mode"]) == ("rafdb.published", 224, "published")
    landmarks = shards.read_all(tmp_path / "out" / "data" / prepared / "landmarks", "id", "points")
    np.testing.assert_allclose(landmarks["points"][list(landmarks["id"]).index("train_0003")], mean_face(), atol=1e-3)
    table = pd.read_csv(out / "tables" / "table1.csv")
    cell = table[(table["method"] == "tscam") & (table["variant"] == "au") & (table["metric"] == "cam_cosine")]
    assert cell["value"].notna().all()
    assert pd.read_csv(out / "tables" / "table2.csv")["value"].notna().sum() == 1
    again = snakemake(tmp_path, "--dry-run", "published", config=config)
    assert "Nothing to be done" in again.stdout + again.stderr
