"""A killed extraction continues after its last finished block of faces, and gives what an uninterrupted one gives."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from pipeline import landmarks
from pipeline.extractors import face_alignment as fan
from pipeline.storage import images, shards

COUNT, SIZE = 10, 96


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    return write(tmp_path / "faces" / "0.h5", seed=0)


def write(path: Path, seed: int) -> Path:
    """Write a shard of noise: one unreadable row, the others on the template."""
    rng = np.random.default_rng(seed)
    files = [images.encode(rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)) for _ in range(COUNT)]
    files[2] = files[2][:0]
    columns = {
        "id": np.array([f"face_{row}" for row in range(COUNT)], object),
        "status": np.array(["unreadable" if row == 2 else "ok" for row in range(COUNT)], object),
        "jpeg": np.concatenate(files),
        "offset": np.cumsum([0, *map(len, files)]),
        "box": np.full((COUNT, 4), np.nan, np.float32),
        "source_landmarks": np.full((COUNT, 68, 2), np.nan, np.float32),
    }
    shards.write(path, columns, of=1, size=SIZE, detector="none", mode="corrected")
    return path


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SimpleNamespace:
    """A network of one layer that counts the faces it sees and fails once it has seen `limit` of them."""
    torch.manual_seed(0)
    layer, state = nn.Conv2d(3, 68, 3, stride=4, padding=1), SimpleNamespace(seen=0, limit=1000)

    def forward(shown: torch.Tensor) -> list[torch.Tensor]:
        if state.seen + len(shown) > state.limit:
            raise KeyboardInterrupt
        state.seen += len(shown)
        return [layer(shown)]

    monkeypatch.setattr(fan, "find_weights", lambda folder: tmp_path)
    monkeypatch.setattr(fan, "_network", lambda path, device: (forward, torch.device("cpu")))
    monkeypatch.setattr(fan, "BLOCK", 4)
    return state


def extract(faces: Path, out: Path, **options: str) -> dict[str, np.ndarray]:
    landmarks.extract_landmarks(faces, out, "face_alignment", options)
    return shards.read(out)


def interrupt(faces: Path, out: Path, network: SimpleNamespace, **options: str) -> None:
    """Kill an extraction in its third block."""
    network.limit = network.seen + 7
    with pytest.raises(KeyboardInterrupt):
        extract(faces, out, **options)
    network.limit = 1000
    assert not out.exists()


def test_a_killed_extraction_continues(tmp_path: Path, faces: Path, network: SimpleNamespace) -> None:
    whole = extract(faces, tmp_path / "whole" / "0.h5")
    assert network.seen == 9  # all but the unreadable one
    out = tmp_path / "landmarks" / "0.h5"
    interrupt(faces, out, network)
    seen = network.seen
    continued = extract(faces, out)
    assert network.seen - seen == 2  # rows 8 and 9
    assert continued.keys() == whole.keys()
    for name, values in whole.items():
        np.testing.assert_array_equal(continued[name], values)
    assert continued["status"].tolist() == ["ok", "ok", "unreadable", *["ok"] * 7]
    assert np.unique(continued["points"][:2].round(), axis=0).shape[0] == 2
    assert [path.name for path in out.parent.iterdir()] == ["0.h5"]


def test_blocks_give_what_one_call_gives(
    tmp_path: Path, faces: Path, network: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_blocks = extract(faces, tmp_path / "blocks" / "0.h5")
    monkeypatch.delattr(fan, "BLOCK")
    for name, values in extract(faces, tmp_path / "one" / "0.h5").items():
        np.testing.assert_array_equal(in_blocks[name], values)


def test_blocks_of_other_faces_or_options_do_not_count(tmp_path: Path, faces: Path, network: SimpleNamespace) -> None:
    out = tmp_path / "landmarks" / "0.h5"
    interrupt(faces, out, network)
    flipped = extract(faces, out, flip="true")
    out.unlink()
    interrupt(faces, out, network)
    other = extract(write(tmp_path / "other" / "0.h5", seed=1), out)
    assert not np.array_equal(flipped["points"], other["points"], equal_nan=True)
    for options, path, found in (
        ({"flip": "true"}, faces, flipped),
        ({}, tmp_path / "other" / "0.h5", other),
    ):
        expected = extract(path, tmp_path / "again" / "0.h5", **options)
        np.testing.assert_array_equal(found["points"], expected["points"])


def test_a_damaged_block_is_computed_again(tmp_path: Path, faces: Path, network: SimpleNamespace) -> None:
    out = tmp_path / "landmarks" / "0.h5"
    interrupt(faces, out, network)
    block = out.parent / ".0.h5.blocks" / "0.h5"
    block.write_bytes(block.read_bytes()[:-100])
    seen = network.seen
    continued = extract(faces, out)
    assert network.seen - seen == 3 + 2  # rows 0, 1, 3 of the damaged block, then 8 and 9
    np.testing.assert_array_equal(continued["points"], extract(faces, tmp_path / "again" / "0.h5")["points"])
    assert [path.name for path in out.parent.iterdir()] == ["0.h5"]
