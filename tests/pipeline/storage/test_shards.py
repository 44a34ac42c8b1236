"""HDF5 shards: what is written is read; damage never goes unseen and costs one shard."""

import numpy as np
import pytest

from pipeline.errors import UserError
from pipeline.storage import shards


@pytest.fixture
def columns():
    return {
        "id": np.array(["a", "ü b", ""]),
        "offset": np.array([0, 2, 2, 5]),
        "jpeg": np.arange(5, dtype=np.uint8),
        "points": np.array([[[1.5, np.nan]], [[0, 1]], [[2, 3]]], np.float32),
    }


def test_round_trip(tmp_path, columns):
    path = tmp_path / "deep" / "0.h5"
    shards.write(path, columns, size=256, detector="dlib")
    stored = shards.read(path)
    assert stored["id"].tolist() == ["a", "ü b", ""]
    np.testing.assert_array_equal(stored["points"], columns["points"])
    assert list(shards.read(path, "jpeg")) == ["jpeg"]
    assert shards.Shard(path).attributes["size"] == 256
    assert [file.name for file in path.parent.iterdir()] == ["0.h5"]


def test_the_same_rows_make_the_same_file(tmp_path, columns):
    for name in ("0.h5", "1.h5"):
        shards.write(tmp_path / name, columns)
    assert (tmp_path / "0.h5").read_bytes() == (tmp_path / "1.h5").read_bytes()


def test_no_rows(tmp_path):
    shards.write(tmp_path / "0.h5", {"id": np.array([], object), "points": np.zeros((0, 68, 2), np.float32)})
    assert shards.read(tmp_path / "0.h5")["points"].shape == (0, 68, 2)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_flipped_byte_is_found(tmp_path, columns, share):
    path = tmp_path / "0.h5"
    columns["jpeg"] = np.arange(200_000, dtype=np.uint8)
    shards.write(path, columns)
    content = bytearray(path.read_bytes())
    content[int(share * len(content))] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"0\.h5 is damaged .*only this shard"):
        shards.read(path, "id")
    assert not path.exists()
    assert (tmp_path / "0.h5.damaged").exists()


@pytest.mark.parametrize("length", [0, 100, 5000])
def test_a_file_cut_short_is_found(tmp_path, columns, length):
    path = tmp_path / "0.h5"
    shards.write(path, columns)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(UserError, match="is damaged"):
        shards.read(path)


def test_a_missing_shard_is_named(tmp_path):
    with pytest.raises(UserError, match=r"3\.h5 does not exist"):
        shards.read(tmp_path / "3.h5")


def test_a_column_that_is_not_there_is_named(tmp_path, columns):
    shards.write(tmp_path / "0.h5", columns)
    with pytest.raises(UserError, match=r"/0\.h5 has no column shapes, only id, jpeg, offset, points;"):
        shards.read(tmp_path / "0.h5", "id", "shapes")


def test_a_folder_is_no_shard(tmp_path):
    with pytest.raises(UserError, match=r"cannot be read \(Is a directory"):
        shards.read(tmp_path)


def test_a_file_of_another_kind_is_refused_and_stays(tmp_path):
    path = tmp_path / "landmarks.txt"
    path.write_text("my own notes\n" * 100)
    with pytest.raises(UserError, match=r"landmarks\.txt is no shard"):
        shards.read(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_nothing(tmp_path, columns):
    with pytest.raises(TypeError):
        shards.write(tmp_path / "0.h5", {**columns, "bad": [object()]})
    assert list(tmp_path.iterdir()) == []


def test_joining_keeps_rows_and_bytes_together(tmp_path):
    for name, ids, jpeg, offset in (
        ("0", ["a", "b"], [1, 2, 3], [0, 1, 3]),
        ("2", ["d"], [9], [0, 1]),
        ("1", ["c"], [], [0, 0]),
    ):
        columns = {"id": np.array(ids), "jpeg": np.array(jpeg, np.uint8), "offset": np.array(offset)}
        shards.write(tmp_path / f"{name}.h5", columns, of=3)
    joined = shards.read_all(tmp_path)
    assert joined["id"].tolist() == ["a", "b", "c", "d"]
    bytes_of = [joined["jpeg"][a:b].tolist() for a, b in zip(joined["offset"][:-1], joined["offset"][1:], strict=True)]
    assert bytes_of == [[1], [2, 3], [], [9]]


@pytest.fixture
def divided(tmp_path):
    """Twelve shards with an id each, of a division into eleven: the last is left over from another one."""
    for shard in range(12):
        shards.write(tmp_path / f"{shard}.h5", {"id": [f"face {shard}"]}, of=11, size=64)
    return tmp_path


def test_only_the_shards_that_belong_together_are_joined(divided):
    assert shards.read_all(divided)["id"].tolist() == [f"face {shard}" for shard in range(11)]
    assert [shard.path for shard in shards.ShardFolder(divided).shards] == [
        divided / f"{shard}.h5" for shard in range(11)
    ]
    assert shards.Shard(divided / "3.h5").count == 11
    assert shards.Shard(divided / "3.h5").attributes == {"size": 64}


@pytest.mark.parametrize("shard", [0, 4, 10])
def test_a_missing_shard_of_a_folder_is_named(divided, shard):
    (divided / f"{shard}.h5").unlink()
    with pytest.raises(UserError, match=rf"/{shard}\.h5 does not exist; run the workflow again"):
        shards.read_all(divided)


def test_a_file_that_stands_alone_is_no_folder_of_shards(tmp_path):
    shards.write(tmp_path / "0.h5", {"id": ["a"]})
    assert shards.Shard(tmp_path / "0.h5").count is None
    with pytest.raises(UserError, match=r"0\.h5 does not say how many shards belong to it"):
        shards.read_all(tmp_path)


def test_an_image_in_two_shards_is_named(divided):
    shards.write(divided / "7.h5", {"id": ["face 2"]}, of=11)
    with pytest.raises(UserError, match="face 2 occurs twice"):
        shards.read_all(divided, "id")


def test_a_folder_without_shards_is_named(tmp_path):
    with pytest.raises(UserError, match=r"faces holds no shards; build them"):
        shards.read_all(tmp_path / "faces")


def test_words_are_small_and_come_back_as_they_were(tmp_path):
    words = ["", "ok", "Bärbel 面孔", *(f"train_set/images/{number:06d}" for number in range(997))]
    shards.write(tmp_path / "0.h5", {"id": words, "none": np.array([], object)}, of=1)
    stored = shards.read(tmp_path / "0.h5")
    assert stored["id"].dtype == object
    assert list(stored["id"]) == words
    assert stored["none"].shape == (0,)
    assert (tmp_path / "0.h5").stat().st_size < 8 * len(words) + 4096


def test_blocks_are_written_as_they_come(tmp_path):
    maps = np.arange(7 * 6, dtype=np.float16).reshape(7, 2, 3)
    alive = []

    def blocks():
        for start in (0, 3, 6):
            alive.append(start)
            yield {"maps": maps[start : start + 3], "score": np.arange(start, min(start + 3, 7))}

    shards.write(tmp_path / "p.h5", {"id": [str(row) for row in range(7)]}, blocks=blocks(), card="x")
    stored = shards.read(tmp_path / "p.h5")
    np.testing.assert_array_equal(stored["maps"], maps)
    assert stored["maps"].dtype == np.float16
    np.testing.assert_array_equal(stored["score"], range(7))
    assert shards.Shard(tmp_path / "p.h5").attributes["card"] == "x"


def test_a_changed_column_changes_no_file(tmp_path):
    path = tmp_path / "0.h5"
    shards.write(path, {"id": ["a", "b"], "score": np.array([1.0, 2.0])}, of=1)
    stored = shards.read(path)["score"]
    stored[0] = 9
    np.testing.assert_array_equal(shards.read(path)["score"], [1, 2])
    path.unlink()
    np.testing.assert_array_equal(stored, [9, 2])


def test_stored_files_are_those_that_were_written(tmp_path):
    files = [np.frombuffer(text, np.uint8) for text in (b"one", b"", b"three")]
    offset = np.cumsum([0, *map(len, files)])
    shards.write(tmp_path / "0.h5", {"id": ["a", "b", "c"], "jpeg": np.concatenate(files), "offset": offset}, of=1)
    assert [file.tobytes() for file in shards.Shard(tmp_path / "0.h5").stored_files()] == [b"one", b"", b"three"]
    nothing = {"id": ["a"], "jpeg": np.zeros(0, np.uint8), "offset": np.array([0, 0])}
    shards.write(tmp_path / "1.h5", nothing, of=1)
    assert [file.tobytes() for file in shards.Shard(tmp_path / "1.h5").stored_files()] == [b""]
