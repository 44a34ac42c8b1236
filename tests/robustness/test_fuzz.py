"""Every reader of outside files on damaged versions of a good one: it reads it, or refuses it in one line.

More than the suite tries: `FUZZ=5000 python -m pytest tests/robustness/test_fuzz.py`.
"""

import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eval.figures.maps import read_averages
from eval.metrics.training_means import read_means
from eval.published.config import ReleasedConfig, card_of
from pipeline.errors import UserError
from pipeline.extractors import published
from pipeline.index import read_samples
from pipeline.sources import _affectnet_cropped, _affectnet_csv, rafdb
from pipeline.storage import images, shards
from pipeline.types import AlignedFaces
from tests.support.released import ARGUMENTS
from tests.support.tiny import CONFIG
from train.card.checks import read_card
from train.checkpoints import checkpoint
from train.weights import checksummed
from train.weights.load import read_tensors
from workflow.config import read

EXAMPLES = int(os.environ.get("FUZZ", "150"))
HEAD = ",".join(_affectnet_csv.COLUMNS)
ROW = f"1/a.jpg,1,2,30,40,{';'.join(map(str, range(136)))},3,0.1,0.2\n"
INDEX = "id,path,expression,split,shard,shards,identity,age,box,points5,landmarks\n"


def saved(write, *values):
    """The bytes that a function writes to a file."""
    file = io.BytesIO()
    write(file, *values)
    return file.getvalue()


def run_card():
    return {
        "dataset": "faces",
        "method": "cam",
        "variant": "au",
        "seed": 0,
        "protocol": "heldout",
        "data": {"folder": "data"},
        "heatmap": {},
        "model": {"backbone": "resnet18_quarter", "init": "none"},
        "training": {"epochs": 3, "batch_size": 4, "learning_rate": 0.01},
        "guidance": {"weight": 5.0},
    }


def small_checkpoint():
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"fuzz-{os.getpid()}.safetensors"
    checksummed.write(path, {"w": torch.arange(4.0)}, {"card": run_card(), "labels": [], "scores": {}})
    content = path.read_bytes()
    path.unlink()
    return content


def landmark_lines(path):
    faces = AlignedFaces(
        ids=["train_1", "train_2"],
        status=["ok"] * 2,
        boxes=np.zeros((2, 4)),
        source_landmarks=np.zeros((2, 68, 2)),
        size=224,
        template=np.zeros((5, 2)),
        view_matrix=np.eye(2, 3),
        image=lambda row: None,
        view=lambda row: None,
    )
    return published.extract(faces, file=str(path))


def rows(path):
    image = path.parent / "1" / "a.jpg"
    image.parent.mkdir(exist_ok=True)
    image.touch()
    return list(_affectnet_csv.read(path.parent, {"train": path, "test": path}))


def readable(path):
    try:
        images.read(path)
    except images.Unreadable as error:
        raise UserError(str(error)) from None


# reader: a good file, what reads it, and its name
TARGETS = {
    "label list of RAF-DB": ("".join(f"train_{n:05d}.jpg {n}\n" for n in range(1, 8)), rafdb._labels, "list.txt"),
    "bounding box": ("1.5 2.25 18.0 19.0 \n", rafdb._box, "box.txt"),
    "manu_attri": ("5.1\t6.2\n14.3\t6.4\n9.5\t10.6\n6.7\t14.8\n13.9\t14.0\n1\n2\n3\n", rafdb._face, "face.txt"),
    "AffectNet CSV": (f"{HEAD}\n{ROW}", rows, "training.csv"),
    "AffectNet label npy": (saved(np.save, np.array("3")), _affectnet_cropped._label, "1_exp.npy"),
    "AffectNet landmarks npy": (saved(np.save, np.arange(136.0)), _affectnet_cropped._landmarks, "1_lnd.npy"),
    "landmarks.txt": (f"train_1.jpg,{','.join(map(str, range(136)))}\n", landmark_lines, "landmarks.txt"),
    "config_model.yaml": (ARGUMENTS, lambda path: card_of(ReleasedConfig(path), Path("d")), "config_model.yaml"),
    "config.yaml": (yaml.safe_dump(CONFIG), read, "config.yaml"),
    "run.yaml": (yaml.safe_dump(run_card()), read_card, "run.yaml"),
    "index.csv": (f"{INDEX}a,b/a.jpg,fear,train,0,1,x,old,1;2;3;4,,\n", read_samples, "index.csv"),
    "checkpoint": (small_checkpoint(), checkpoint.load, "checkpoint.safetensors"),
    "weights of torch": (saved(lambda file: torch.save({"w": torch.arange(4.0)}, file)), read_tensors, "w.pth"),
    "weights in safetensors": (small_checkpoint(), read_tensors, "w.safetensors"),
    "means": (saved(lambda file: np.savez(file, about="{}")), read_means, "means.npz"),
    "average maps": (saved(lambda file: np.savez(file, about="{}", a=np.ones(3))), read_averages, "averages.npz"),
    "image": (bytes(images.encode(np.full((9, 9, 3), 90, np.uint8))), readable, "image.jpg"),
}


PIECES = st.one_of(
    st.binary(max_size=12),
    st.sampled_from(
        [b"\0", b"\n", b"\r\n", b"-", b"nan", b"inf", b"1e999", b"9" * 40, b"\xff\xfe", b"!!python/object:os.system"]
    ),
    st.sampled_from(["٣", "é", "\u2028", "\ud7ff", "{", "[", "&a [*a]", '"', "'", ":", "#"]).map(str.encode),
)
DAMAGE = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 9), PIECES), min_size=1, max_size=4)


def damaged(content, damage):
    """Replace some bytes at some places by some pieces; a piece of nothing at the end cuts the file."""
    for place, length, piece in damage:
        start = int(place * len(content))
        content = content[:start] + piece + (content[start + length :] if length < 9 else b"")
    return content


@pytest.mark.parametrize("target", TARGETS)
def test_a_damaged_file_is_read_or_refused(target, tmp_path):
    good, reader, name = TARGETS[target]
    good = good.encode() if isinstance(good, str) else good
    path = tmp_path / name
    path.write_bytes(good)
    if target not in ("checkpoint", "means"):  # whose small example does not hold a whole network, or all maps
        reader(path)

    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(DAMAGE)
    def attempt(damage):
        path.write_bytes(damaged(good, damage))
        try:
            reader(path)
        except UserError as error:
            lines = str(error).splitlines()
            if len(lines) != 1:
                pytest.fail(f"not one line: {lines}")

    attempt()


@settings(max_examples=EXAMPLES, deadline=None, database=None)
@given(DAMAGE)
def test_a_damaged_shard_is_refused_and_moved_aside(tmp_path_factory, damage):
    """Its checksum stands before anything that HDF5 could stumble over."""
    path = tmp_path_factory.mktemp("shard") / "0.h5"
    shards.write(path, {"id": ["a", "b"], "points": np.arange(4.0)})
    good = path.read_bytes()
    path.write_bytes(damaged(good, damage))
    if path.read_bytes() == good:
        return
    with pytest.raises(UserError, match=r"0\.h5 is damaged .* moved to 0\.h5\.damaged"):
        shards.read(path)
    assert not path.exists()


@pytest.mark.parametrize("name", ["w.pth", "w.pt", "w.tar"])
def test_a_pickle_runs_nothing(name, tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"w": torch.zeros(1), "evil": Evil()}, tmp_path / name)
    with pytest.raises(UserError, match="not a plain file of weights"):
        read_tensors(tmp_path / name)
    (tmp_path / "config_model.yaml").write_text(f"!!python/object/apply:pathlib.Path.touch [{tmp_path}/ran]\n")
    with pytest.raises(UserError, match="not the YAML that is expected"):
        ReleasedConfig(tmp_path / "config_model.yaml")
    with pytest.raises(UserError, match="is not YAML"):
        read(tmp_path / "config_model.yaml")
    assert not (tmp_path / "ran").exists()
