"""Fixtures that several concerns share: a small prepared dataset and the card of a small run."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import cv2
import numpy as np
import pytest
import torch

from au_guidance.expressions import Expression
from au_guidance.heatmap import shapes
from pipeline.storage import shards
from tests.support.paths import SHARED
from train.card.schema import Card
from train.engine.loop import train

CROP = 96


FIRST = ("test_workflow.py", "test_published_workflow.py", "test_report_browser.py")  # whole workflows: the longest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that none of them is left over while other processes wait."""
    items.sort(key=lambda item: item.path.name not in FIRST)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with reference values and faces beside the repository; tests that need it skip without it."""
    if not SHARED.is_dir():
        pytest.skip("reference material is not beside the repository")
    return SHARED


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def mean_face() -> np.ndarray:
    """68 landmarks of a frontal face on the 224-px canvas, placed like the alignment template."""
    jaw_angle = np.linspace(np.pi, 0, 17)
    jaw = np.stack([112 + 82 * np.cos(jaw_angle), 110 + 108 * np.sin(jaw_angle)], 1)
    brow = np.array([[52, 82], [62, 75], [74, 73], [86, 75], [97, 80]], float)
    nose = np.array([[112, 98], [112, 113], [112, 128], [112, 143], [98, 152], [105, 155], [112, 157]], float)
    eye = np.array([[63, 104], [71, 99], [81, 99], [90, 105], [81, 108], [71, 108]], float)
    mouth = np.array([[83, 184], [93, 178], [104, 175], [112, 177], [112, 195], [102, 194], [92, 191]], float)
    inner = np.array([[88, 184], [104, 182], [112, 183], [112, 187], [104, 187]], float)

    def mirrored(points: np.ndarray, order: list[int]) -> np.ndarray:
        return np.array([224, 0]) + points[order] * np.array([-1, 1])

    lip = np.vstack([mouth[:4], mirrored(mouth, [2, 1, 0, 6, 5]), mouth[4:]])
    inside = np.vstack([inner[:3], mirrored(inner, [1, 0, 4]), inner[3:]])
    nostrils = mirrored(nose, [5, 4])
    eyes = [eye, mirrored(eye, [3, 2, 1, 0, 5, 4])]
    points = np.vstack([jaw, brow, mirrored(brow, [4, 3, 2, 1, 0]), nose, nostrils, *eyes, lip, inside])
    assert points.shape == (68, 2)
    return points


def face_picture(expression: Expression, rng: np.random.Generator) -> np.ndarray:
    """A grey oval with noise and a bright patch whose place and colour tell the class; uint8 RGB."""
    image = rng.normal(90, 12, (CROP, CROP, 3))
    row, column = np.mgrid[:CROP, :CROP]
    image[((row - 52) / 42) ** 2 + ((column - 48) / 36) ** 2 < 1] += 40
    angle = 2 * np.pi * int(expression) / 7
    centre = np.array([48 + 22 * np.sin(angle), 48 + 22 * np.cos(angle)]) + rng.normal(0, 2, 2)
    patch = np.exp(-((row - centre[0]) ** 2 + (column - centre[1]) ** 2) / (2 * 7.0**2))
    image[..., int(expression) % 3] += 110 * patch
    return np.clip(image, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def prepared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """63 faces of 96 px (42 train, 21 test) in two shards; one is unreadable (train) and two have no landmarks.

    Every class has 6 train and 3 test faces; three faces of random classes share an identity.
    """
    folder = tmp_path_factory.mktemp("prepared")
    rng = np.random.default_rng(0)
    rows = []
    for split, copies in (("train", 6), ("test", 3)):
        expressions = rng.permutation(np.repeat(np.arange(7), copies))
        rows += [(f"{split}_{number:03d}", split, Expression(e), number // 3) for number, e in enumerate(expressions)]
    for shard in range(2):
        _write_shard(folder, shard, [row for row in rows if crc32(row[0].encode()) % 2 == shard], rng)
    return folder


def _write_shard(folder: Path, shard: int, rows: list[tuple[str, str, Expression, int]], rng: Any) -> None:
    count = len(rows)
    ids = [row[0] for row in rows]
    points = mean_face() + rng.normal(0, 1.0, (count, 68, 2))
    points[[i for i, name in enumerate(ids) if name in {"train_005", "test_004"}]] = np.nan
    unreadable = [name == "train_010" for name in ids]
    points[unreadable] = np.nan
    files = []
    for (_, _, expression, _), broken in zip(rows, unreadable, strict=True):
        picture = cv2.cvtColor(face_picture(expression, rng), cv2.COLOR_RGB2BGR)
        files.append(np.zeros(0, np.uint8) if broken else cv2.imencode(".jpg", picture)[1].ravel())
    faces = {
        "id": ids,
        "expression": np.array([row[2] for row in rows], np.int8),
        "split": [row[1] for row in rows],
        "identity": [f"{row[1]} person {row[3]}" for row in rows],
        "attribute_gender": [("female", "male")[row[3] % 2] for row in rows],
        "status": ["unreadable" if broken else "ok" for broken in unreadable],
        "step": ["plain"] * count,
        "jpeg": np.concatenate(files),
        "offset": np.concatenate([[0], np.cumsum([len(file) for file in files])]).astype(np.int64),
        "box": np.tile(np.array([12, 10, 84, 92], np.float32), (count, 1)),
        "matrix": np.tile(np.eye(2, 3), (count, 1, 1)),
        "source_landmarks": np.full((count, 68, 2), np.nan, np.float32),
    }
    shards.write(folder / "faces" / f"{shard}.h5", faces, of=2, size=CROP, detector="none", mode="similarity")
    missing = np.isnan(points).any((1, 2))
    landmarks = {
        "id": ids,
        "points": ((points + 0.5) * CROP / 224 - 0.5).astype(np.float32),
        "status": np.where(missing, np.where(unreadable, "unreadable", "no_face"), "ok"),
        "quality": np.where(missing, np.nan, 0.9).astype(np.float32),
    }
    shards.write(folder / "landmarks" / f"{shard}.h5", landmarks, of=2, extractor="none", size=CROP)
    drawn = [shapes(face) for face in np.where(np.isnan(points), mean_face(), points)]
    stored = np.where(missing[:, None, None], np.nan, np.stack(drawn)).astype(np.float32)
    shards.write(folder / "heatmaps" / f"{shard}.h5", {"id": ids, "shapes": stored}, of=2, geometry="published")


@pytest.fixture
def make_card(prepared_folder: Path) -> Callable[..., Card]:
    """Build the card of a small, quick run; keyword arguments such as `training__epochs=3` change single values."""

    def make(**changes: Any) -> Card:
        card: dict[str, Any] = {
            "dataset": "small",
            "method": "cam",
            "variant": "au",
            "seed": 0,
            "protocol": "heldout",
            "data": {"folder": str(prepared_folder), "validation_fraction": 0.2},
            "heatmap": {},
            "model": {"backbone": "resnet18_quarter", "init": "none", "image_size": 64},
            "training": {"epochs": 2, "batch_size": 8, "learning_rate": 0.02, "step_size": 10, "gamma": 0.1},
            "guidance": {"weight": 5.0},
        }
        for key, value in changes.items():
            part, _, name = key.partition("__")
            if name:
                card[part][name] = value
            else:
                card[part] = value
        return Card.model_validate(card)

    return make


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder after the preparation of drawn faces, a short training and its predictions: generated/, data/, run/."""
    from tests.support.stages import STAGES, card, run

    folder = tmp_path_factory.mktemp("trained")
    card(folder)
    for stage in STAGES[:8]:
        code, said = run(stage, folder)
        assert code == 0, said
    return folder


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A headless Chromium; tests that need it skip where it is not installed."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    service = shutil.which("chromedriver")
    if not (browser and service):
        pytest.skip("needs Chromium and its driver (Debian: chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    profile = tmp_path_factory.mktemp("profile")
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    found = webdriver.Chrome(options=options, service=Service(service))
    yield found
    found.quit()


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Room for the run that a module's tests compare with, made by the first that asks for it."""
    return tmp_path_factory.mktemp("unbroken")


@pytest.fixture
def four_epochs(make_card: Callable[..., Card], unbroken: Path) -> tuple[Card, Path]:
    """A card and the folder of its finished training."""
    card = make_card(training__epochs=4, training__augmentation="published")
    if not (unbroken / "checkpoint.safetensors").exists():
        train(card, unbroken)
    return card, unbroken
