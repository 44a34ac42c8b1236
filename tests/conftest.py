"""Fixtures that several concerns share: a small prepared dataset and the card of a small run."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest
import torch

from au_guidance.expressions import Expression
from tests.support.faces import write_shard
from tests.support.paths import REAL_FACES
from train.card.schema import Card
from train.engine.loop import train

# The longest: whole workflows, a browser, full-size networks.
FIRST = ("test_workflow.py", "test_published_workflow.py", "test_report_browser.py", "test_onnx.py", "test_answers.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that none of them is left over while other processes wait."""
    items.sort(key=lambda item: item.path.name not in FIRST)


@pytest.fixture(scope="session")
def real_faces() -> Path:
    """A dataset of 1,435 real faces in RAF-DB's layout beside the repository; tests of photographs skip without it."""
    if not REAL_FACES.is_dir():
        pytest.skip("needs real faces, which are not part of the repository, in ../shared/faces/RAF-DB")
    return REAL_FACES


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


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
        write_shard(folder, shard, [row for row in rows if crc32(row[0].encode()) % 2 == shard], rng)
    return folder


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
        code, errors = run(stage, folder)
        assert code == 0, errors
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
    chromium = webdriver.Chrome(options=options, service=Service(service))
    yield chromium
    chromium.quit()


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
