"""Files appear whole or not at all."""

import errno
import stat
from pathlib import Path

import pytest

from pipeline.errors import UserError, refusal
from pipeline.storage.files import (
    UMASK,
    append_checksum,
    atomic_write,
    refuse_overwriting,
    verify_checksum,
    write_text,
)


def test_a_file_is_written_with_its_own_line_ends_into_a_new_folder(tmp_path):
    path = tmp_path / "new" / "table.csv"
    write_text(path, "a\nß\r\n")
    assert path.read_bytes() == b"a\n\xc3\x9f\r\n"
    assert list(path.parent.iterdir()) == [path]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "map.npz"
    write_text(path, "old")

    def fail() -> None:
        with atomic_write(path) as temporary:
            assert temporary.suffix == ".npz"
            assert temporary.parent == tmp_path
            temporary.write_text("half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_in_the_place_of_the_file_and_a_file_in_that_of_its_folder_are_named(tmp_path):
    with pytest.raises(UserError, match=rf"^{tmp_path} is a folder; name the file to write$"):
        write_text(tmp_path, "new")
    (tmp_path / "table").write_text("old")
    for below in (tmp_path / "table" / "a.csv", tmp_path / "table" / "b" / "a.csv"):
        with pytest.raises(UserError, match=rf"^{tmp_path}/table(/b)? is a file; {below} cannot be written"):
            write_text(below, "new")
    assert (tmp_path / "table").read_text() == "old"


def test_a_file_may_be_read_by_whom_the_umask_lets(tmp_path):
    with atomic_write(tmp_path / "private") as temporary:
        temporary.touch(0o600)
    assert stat.S_IMODE((tmp_path / "private").stat().st_mode) == 0o666 & ~UMASK


def test_a_place_without_folders_is_one_line():
    with pytest.raises(
        UserError, match=r"^/proc/nowhere cannot be created; choose another folder for /proc/nowhere/a$"
    ):
        write_text(Path("/proc/nowhere/a"), "new")


def test_what_the_system_refuses_is_found_behind_other_errors():
    assert refusal(OSError(errno.ENOSPC, "full")) == "No space left on device"
    assert refusal(RuntimeError("write failed: errno = 28, error message = 'No space left on device'")) is not None
    wrapped = RuntimeError("torch knows no reason")
    wrapped.__context__ = OSError(errno.EROFS, "closed")
    assert refusal(wrapped) == "Read-only file system"
    assert refusal(OSError(errno.ENOENT, "absent")) is None
    assert refusal(ValueError("no disk")) is None


def test_a_checksum_fails_for_any_changed_byte(tmp_path):
    path = tmp_path / "checked"
    path.write_bytes(b"some bytes")
    append_checksum(path)
    good = path.read_bytes()
    assert verify_checksum(path)
    for place in range(len(good)):
        path.write_bytes(good[:place] + bytes([good[place] ^ 4]) + good[place + 1 :])
        assert verify_checksum(path) is None
    for content in (b"", good[:-1], good + b"x"):
        path.write_bytes(content)
        assert verify_checksum(path) is None


def test_an_output_is_no_input_by_any_other_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photo, other = tmp_path / "photo.png", tmp_path / "other.png"
    photo.write_bytes(b"photo")
    other.write_bytes(b"photo")
    (tmp_path / "link.png").symlink_to(photo)
    (tmp_path / "hard.png").hardlink_to(photo)
    (tmp_path / "here").symlink_to(tmp_path)
    refuse_overwriting([photo], [other, tmp_path / "new.png"])
    refuse_overwriting([tmp_path / "missing.png"], [tmp_path / "new.png"])
    for output in ("photo.png", "here/here/photo.png", "here/photo.png", "link.png", "hard.png"):
        with pytest.raises(UserError, match="would replace a file that is read"):
            refuse_overwriting([other, photo], [Path("new.png"), Path(output)])


def test_a_folder_stands_for_the_files_in_it(tmp_path):
    photo = tmp_path / "photos" / "deep" / "photo.png"
    photo.parent.mkdir(parents=True)
    photo.write_bytes(b"photo")
    other = tmp_path / "other.png"
    other.write_bytes(b"other")
    refuse_overwriting([tmp_path / "photos"], [other, photo.with_name("new.png")])
    with pytest.raises(UserError, match=r"photo\.png would replace"):
        refuse_overwriting([tmp_path / "photos"], [other, photo])
