"""Broken datasets, each through the whole preparation: it works, is listed with a status, or stops with one line."""

import os
import re
import shutil
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.sources import rafdb
from pipeline.storage import shards
from tests.support.stages import STAGES, Stage, run

LIST = f"RAF/basic/{rafdb.LABEL_LIST.as_posix()}"
IMAGES = "RAF/basic/Image/original"
BOXES, MANUAL = "RAF/basic/Annotation/boundingbox", "RAF/basic/Annotation/manual"
NAMES = [f"train_{number:05d}" for number in range(1, 5)] + ["test_0001", "test_0002"]
FIRST = f"{IMAGES}/train_00001.jpg"
POINTS = "40 45\n75 45\n57 65\n44 82\n72 82\n1\n0\n2\n"


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """Six drawn faces in the layouts of RAF-DB, of both generations of AffectNet and of people's own pictures."""
    folder = tmp_path_factory.mktemp("good")
    arguments = ("--identities-train", "1", "--identities-test", "1", "--size", "160", "--seed", "2")
    code, said = run(Stage(STAGES[0].module, "drawn", arguments), folder)
    assert code == 0, said
    pictures = sorted((folder / "drawn").rglob("*.jpg"))[: len(NAMES)] or sorted((folder / "drawn").rglob("*.png"))[:6]
    (folder / LIST).parent.mkdir(parents=True)
    (folder / LIST).write_text("".join(f"{name}.jpg {label}\n" for label, name in enumerate(NAMES, start=1)))
    for place in (IMAGES, BOXES, MANUAL, "Net/Manually_Annotated_Images/1"):
        (folder / place).mkdir(parents=True)
    rows = {"train": [], "test": []}
    for number, (name, picture) in enumerate(zip(NAMES, pictures, strict=True)):
        image = Image.open(picture).convert("RGB")
        image.save(folder / f"{IMAGES}/{name}.jpg", quality=95)
        (folder / f"{BOXES}/{name}_boundingbox.txt").write_text("20 15 140 150\n")
        (folder / f"{MANUAL}/{name}_manu_attri.txt").write_text(POINTS)
        split = name.partition("_")[0]
        image.save(folder / f"Net/Manually_Annotated_Images/1/{name}.jpg")
        grid = ";".join(f"{40 + value % 80}" for value in range(136))
        rows[split].append(f"1/{name}.jpg,20,15,120,135,{grid},{number},0.1,0.2")
        cropped = folder / "Crop" / ("train_set" if split == "train" else "val_set")
        for part in ("images", "annotations"):
            (cropped / part).mkdir(parents=True, exist_ok=True)
        image.save(cropped / "images" / f"{number}.jpg")
        np.save(cropped / "annotations" / f"{number}_exp.npy", np.array(str(number)))
        np.save(cropped / "annotations" / f"{number}_lnd.npy", np.linspace(30, 130, 136))
        label = ("happiness", "surprise", "sadness")[number % 3]
        (folder / "Own" / split / label).mkdir(parents=True, exist_ok=True)
        image.save(folder / "Own" / split / label / f"{number}.jpg")
    head = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal\n"
    for split, name in (("train", "training.csv"), ("test", "validation.csv")):
        (folder / "Net" / name).write_text(head + "\n".join(rows[split]) + "\n")
    shutil.rmtree(folder / "drawn")
    return folder


def prepare(folder, source, root, limit="100"):
    """Run the whole preparation; return the line of an error or the status of every image, and what was said."""
    steps = (
        Stage("pipeline.index", "index.csv", ("--source", source, "--root", root, "--shards", "1")),
        Stage(
            "pipeline.align",
            "faces/0.h5",
            (
                "index.csv",
                "--root",
                root,
                "--shard",
                "0",
                "--detector",
                "dlib",
                "--size",
                "96",
                "--max-megapixels",
                limit,
            ),
        ),
        Stage("pipeline.landmarks", "landmarks/0.h5", ("faces/0.h5", "--extractor", "dlib")),
        Stage("pipeline.heatmaps", "heatmaps/0.h5", ("landmarks/0.h5",)),
        Stage("pipeline.status", "status", (".",)),
    )
    told = ""
    for step in steps:
        code, said = run(step, folder)
        told += (folder / "stdout.txt").read_text() + said
        assert "Traceback" not in told, told
        if code:
            assert code == 1, said
            lines = [line for line in said.splitlines() if not line.startswith("unreadable: ")]
            assert len(lines) == 1, said
            assert lines[0].startswith("error: ")
            assert not list(folder.rglob(".[0-9]*"))
            return lines[0], told
    faces, landmarks = shards.read(folder / "faces/0.h5"), shards.read(folder / "landmarks/0.h5")
    drawn = shards.read(folder / "heatmaps/0.h5")
    assert list(faces["id"]) == list(landmarks["id"]) == list(drawn["id"])
    known = np.isfinite(landmarks["points"]).all((1, 2))
    assert (known == np.isfinite(drawn["shapes"]).all((1, 2))).all()
    assert (known == np.isin(landmarks["status"], ["ok", "outside", "redetected"])).all()
    return dict(zip(faces["id"], faces["status"], strict=True)), told


def text(path, change):
    """A change of a text file."""
    return lambda folder: (folder / path).write_bytes(change((folder / path).read_bytes()))


def picture(make, path=FIRST):
    """Another picture in the place of the first one, made from it."""
    return lambda folder: make(Image.open(folder / path).copy(), folder / path)


def remove(path):
    return lambda folder: (folder / path).unlink()


def png(width, height):
    """A picture of few bytes that says it is large: a decompression bomb."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = zlib.compress(bytes(1 + width // 8) * 100, 9)
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", row) + chunk(b"IEND", b"")


def montage(count):
    """Several copies of a face in one picture."""

    def make(image, path):
        sheet = Image.new("RGB", (160 * min(count, 5), 160 * -(-count // 5)), (90, 90, 90))
        for place in range(count):
            sheet.paste(image.resize((160, 160)), (160 * (place % 5), 160 * (place // 5)))
        sheet.save(path, quality=95)

    return make


def saved(kind, **options):
    return picture(lambda image, path: image.save(path, kind, **options))


def exif(image, path):
    tags = Image.Exif()
    tags[0x0112] = 6
    image.rotate(90, expand=True).save(path, "JPEG", exif=tags)


def sixteen_bits(image, path):
    cv2.imwrite(f"{path}.png", np.asarray(image.convert("L")).astype(np.uint16) * 257)
    Path(f"{path}.png").rename(path)


def animated(image, path):
    image.save(path, "GIF", save_all=True, append_images=[Image.new("RGB", image.size)] * 3)


def loop(folder):
    (folder / "Own/train/happiness/loop").symlink_to("..", target_is_directory=True)
    (folder / "Own/train/happiness/self.jpg").symlink_to("self.jpg")


def pickled(folder):
    np.save(folder / "Crop/train_set/annotations/1_exp.npy", np.array([print], object), allow_pickle=True)


def numbers(path, values):
    return lambda folder: np.save(folder / path, np.asarray(values))


def name(new, old="Own/train/happiness/0.jpg"):
    return lambda folder: (folder / old).rename((folder / old).parent / os.fsdecode(new))


OK, RAF, NET, CROP, OWN = "ok", ("rafdb", "RAF"), ("affectnet", "Net"), ("affectnet", "Crop"), ("folder", "Own")
CASES = {
    # name: what is broken, the dataset, and the error or the status of the first image
    "as it should be": (lambda folder: None, RAF, OK),
    "label 0": (text(LIST, lambda old: old.replace(b" 1\n", b" 0\n")), RAF, "line 1: label 0 is not one of 1..7"),
    "label 8": (text(LIST, lambda old: old.replace(b" 1\n", b" 8\n")), RAF, "label 8 is not one of 1..7"),
    "label -1": (text(LIST, lambda old: old.replace(b" 1\n", b" -1\n")), RAF, "line 1: expected"),
    "label in words": (text(LIST, lambda old: old.replace(b" 1\n", b" happy\n")), RAF, "line 1: expected"),
    "label in Arabic digits": (text(LIST, lambda old: old.replace(b" 1\n", " ٣\n".encode())), RAF, OK),
    "label of 30 digits": (text(LIST, lambda old: old.replace(b" 1\n", b" " + b"9" * 30 + b"\n")), RAF, "is not one of"),
    "line without label": (text(LIST, lambda old: old.replace(b" 1\n", b"\n")), RAF, "line 1: expected"),
    "duplicate id": (text(LIST, lambda old: old + b"train_00001.jpg 2\n"), RAF, "line 7: train_00001 was listed before"),
    "empty list": (text(LIST, lambda old: b""), RAF, "lists no images"),
    "list of blank lines": (text(LIST, lambda old: b"\n \n\t\n"), RAF, "lists no images"),
    "list of zeros": (text(LIST, lambda old: bytes(500)), RAF, "line 1: expected"),
    "list of an image": (lambda folder: shutil.copy(folder / FIRST, folder / LIST), RAF, "line 1: expected"),
    "CRLF and BOM": (text(LIST, lambda old: b"\xef\xbb\xbf" + old.replace(b"\n", b"\r\n")), RAF, OK),
    "old Macintosh line ends": (text(LIST, lambda old: old.replace(b"\n", b"\r")), RAF, OK),
    "path in the list": (text(LIST, lambda old: old.replace(b"train_00001", b"train_/../../x")), RAF, "are missing: train_/../../x"),
    "label without image": (remove(FIRST), RAF, "1 of 6 labelled images are missing: train_00001"),
    "image without label": (text(LIST, lambda old: old.split(b"\n", 1)[1]), RAF, "images without a label are left out: train_00001"),
    "no test image": (text(LIST, lambda old: old.split(b"test")[0]), RAF, "no images of the split 'test'"),
    "missing box": (remove(f"{BOXES}/train_00001_boundingbox.txt"), RAF, OK),
    "empty box file": (text(f"{BOXES}/train_00001_boundingbox.txt", lambda old: b""), RAF, OK),
    "box of infinity": (text(f"{BOXES}/train_00001_boundingbox.txt", lambda old: b"0 0 inf 9"), RAF, OK),
    "box outside the image": (text(f"{BOXES}/train_00001_boundingbox.txt", lambda old: b"900 900 990 990"), RAF, OK),
    "box inside out": (text(f"{BOXES}/train_00001_boundingbox.txt", lambda old: b"140 150 20 15"), RAF, OK),
    "binary attributes": (text(f"{MANUAL}/train_00001_manu_attri.txt", lambda old: bytes(range(256))), RAF, OK),
    "attribute 9": (text(f"{MANUAL}/train_00001_manu_attri.txt", lambda old: old.replace(b"\n2\n", b"\n9\n")), RAF, OK),
    "no images folder": (lambda folder: shutil.rmtree(folder / IMAGES), RAF, "neither Image/original nor Image/aligned"),
    "empty image": (text(FIRST, lambda old: b""), RAF, "unreadable"),
    "truncated image": (text(FIRST, lambda old: old[: len(old) // 2]), RAF, "unreadable"),
    "image of text": (text(FIRST, lambda old: b"<html>404</html>"), RAF, "unreadable"),
    "image of random bytes": (text(FIRST, lambda old: np.random.default_rng(0).bytes(4000)), RAF, "unreadable"),
    "image with a random middle": (text(FIRST, lambda old: old[:700] + bytes(300) + old[1000:]), RAF, "(ok|unreadable|.*)"),
    "folder for an image": (lambda folder: ((folder / FIRST).unlink(), (folder / FIRST).mkdir()), RAF, "(unreadable|.*missing)"),
    "decompression bomb": (text(FIRST, lambda old: png(60_000, 60_000)), RAF, "unreadable"),
    "image of no size": (text(FIRST, lambda old: png(0, 0)), RAF, "unreadable"),
    "one pixel": (picture(lambda image, path: image.resize((1, 1)).save(path, "PNG")), RAF, "(box_fallback|whole_image)"),
    "a line of pixels": (picture(lambda image, path: image.resize((160, 1)).save(path, "PNG")), RAF, "(box_fallback|whole_image)"),
    "no face": (picture(lambda image, path: Image.new("RGB", (160, 160), (90, 120, 90)).save(path, "JPEG")), RAF, "box_fallback"),
    "two faces": (picture(montage(2)), RAF, "several"),
    "ten faces": (picture(montage(10)), RAF, "several"),
    "grey": (picture(lambda image, path: image.convert("L").save(path, "JPEG")), RAF, OK),
    "CMYK": (picture(lambda image, path: image.convert("CMYK").save(path, "JPEG")), RAF, OK),
    "RGBA in a PNG": (picture(lambda image, path: image.convert("RGBA").save(path, "PNG")), RAF, OK),
    "palette": (picture(lambda image, path: image.convert("P").save(path, "PNG")), RAF, OK),
    "16 bits": (picture(sixteen_bits), RAF, OK),
    "32 bits": (picture(lambda image, path: image.convert("F").save(path, "TIFF")), RAF, "unreadable"),
    "animated": (picture(animated), RAF, OK),
    "WebP named jpg": (saved("WEBP"), RAF, OK),
    "EXIF-rotated": (picture(exif), RAF, OK),
    "spaces and unicode": (name("ein Bild ☺ é.jpg".encode()), OWN, OK),
    "name not UTF-8": (name(b"caf\xe9.jpg"), OWN, "not UTF-8"),
    "line end in a name": (name(b"a\nb.jpg"), OWN, "(ok|.*)"),
    "name of 255 bytes": (name(b"x" * 251 + b".jpg"), OWN, OK),
    "symlink loops": (loop, OWN, "(unreadable|ok)"),
    "class named <script>": (lambda folder: (folder / "Own/train/<script>").mkdir(), OWN, "<script> is no expression"),
    "empty class": (lambda folder: (folder / "Own/train/fear").mkdir(), OWN, OK),
    "no train": (lambda folder: (folder / "Own/train").rename(folder / "Own/trian"), OWN, "needs the folders train/ and test/"),
    "CSV with the wrong columns": (text("Net/training.csv", lambda old: old.replace(b",expression,", b",emotion,")), NET, "the column expression is missing"),
    "CSV with a column less": (text("Net/training.csv", lambda old: old.replace(b",0.1,0.2", b",0.1")), NET, "expected 9 columns, found 8"),
    "CSV of zeros": (text("Net/training.csv", lambda old: bytes(1000)), NET, "training.csv"),
    "CSV that is empty": (text("Net/training.csv", lambda old: b""), NET, "training.csv"),
    "CSV field of a megabyte": (text("Net/training.csv", lambda old: old + b"x" * 1_000_000), NET, "training.csv"),
    "CSV path out of the folder": (text("Net/training.csv", lambda old: old.replace(b"1/train_00001.jpg", b"../../../etc/passwd")), NET, "leads out of"),
    "CSV path from the root": (text("Net/training.csv", lambda old: old.replace(b"1/train_00001.jpg", b"/etc/passwd")), NET, "leads out of"),
    "CSV expression 99": (text("Net/training.csv", lambda old: old.replace(b",0,0.1", b",99,0.1")), NET, "99"),
    "CSV landmarks NaN": (text("Net/training.csv", lambda old: old.replace(b";41;", b";nan;", 1)), NET, "expected 136 numbers"),
    "CSV landmarks far outside": (text("Net/training.csv", lambda old: old.replace(b"40;41;", b"-99999;99999;", 1)), NET, OK),
    "CSV image missing": (remove("Net/Manually_Annotated_Images/1/train_00001.jpg"), NET, "missing: 1/train_00001.jpg"),
    "one CSV of two": (remove("Net/validation.csv"), NET, "both lists are needed"),
    "npy with a pickle inside": (pickled, CROP, "1_exp.npy cannot be read"),
    "npy cut short": (text("Crop/train_set/annotations/1_lnd.npy", lambda old: old[:90]), CROP, "1_lnd.npy cannot be read"),
    "npy that is empty": (text("Crop/train_set/annotations/1_exp.npy", lambda old: b""), CROP, "1_exp.npy cannot be read"),
    "npy that claims to be huge": (text("Crop/train_set/annotations/1_lnd.npy", lambda old: old.replace(b"(136,)", b"(136000000000,)")[:128] + old[128:]), CROP, "1_lnd.npy"),
    "npy landmarks NaN": (numbers("Crop/train_set/annotations/1_lnd.npy", np.full(136, np.nan)), CROP, "1_lnd.npy: expected 136 numbers"),
    "npy of another shape": (numbers("Crop/train_set/annotations/1_lnd.npy", np.zeros(10)), CROP, "1_lnd.npy: expected 136 numbers"),
    "npy of two labels": (numbers("Crop/train_set/annotations/1_exp.npy", [1, 2]), CROP, "1_exp.npy"),
    "npy label 1.5": (numbers("Crop/train_set/annotations/1_exp.npy", 1.5), CROP, "1_exp.npy"),
    "label without image, cropped": (remove("Crop/train_set/images/1.jpg"), CROP, "labelled images are missing: 1"),
    "image without label, cropped": (remove("Crop/train_set/annotations/1_exp.npy"), CROP, OK),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_it_works_or_is_listed_or_stops_with_one_line(case, good, tmp_path):
    breaks, (source, root), expected = CASES[case]
    folder = tmp_path / "data"
    shutil.copytree(good, folder, symlinks=True)
    breaks(folder)
    outcome, told = prepare(folder, source, root)
    if isinstance(outcome, str):
        assert re.search(expected, outcome), outcome
        assert not (folder / "index.csv").exists()
        return
    first = next(iter(outcome.values()))
    assert re.search(expected, first) or re.search(expected, told), (outcome, told)
    for image, status in outcome.items():
        assert status != "unreadable" or re.search(f"unreadable: .*{re.escape(Path(image).name)}", told), (image, told)
    counted = pd.read_csv(folder / "status.csv")
    assert counted["images"].max() >= len(outcome)


def test_the_corpus_is_large_enough():
    assert len(CASES) >= 40


def test_the_limit_of_pixels_is_the_users(good, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(good, folder)
    outcome, told = prepare(folder, *RAF, limit="0.02")
    assert set(outcome.values()) == {"unreadable"}
    assert "train_00001.jpg: larger than 0.02 megapixels: 160 x 160" in told
