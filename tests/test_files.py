"""Files appear whole or not at all."""

import pytest

from pipeline.files import whole, write_text


def test_a_file_is_written_with_its_own_line_ends_into_a_new_folder(tmp_path):
    path = tmp_path / "new" / "table.csv"
    write_text(path, "a\nß\r\n")
    assert path.read_bytes() == b"a\n\xc3\x9f\r\n"
    assert list(path.parent.iterdir()) == [path]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "map.npz"
    write_text(path, "old")

    def fail() -> None:
        with whole(path) as temporary:
            assert temporary.suffix == ".npz"
            assert temporary.parent == tmp_path
            temporary.write_text("half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
