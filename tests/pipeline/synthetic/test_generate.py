"""The dataset of synthetic faces on disk: written whole, the same every time, and read like any other."""

import csv
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from au_guidance.expressions import Expression
from pipeline import plugins
from pipeline.errors import UserError
from pipeline.sources import synthetic
from pipeline.synthetic.au_table import ACTIVE, AUS, PROTOTYPES
from pipeline.synthetic.generate import Shot, draw, generate
from tests.support.paths import ROOT
from workflow.schema import Generate


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("synthetic") / "faces"
    generate(root, identities_train=2, identities_test=1, size=96, seed=5, workers=2)
    return root


def rows(root: Path) -> list[dict[str, str]]:
    with (root / "truth.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_written_dataset_comes_back(dataset: Path) -> None:
    samples = list(plugins.load("pipeline.sources", "synthetic").read(dataset))
    truth = rows(dataset)
    assert [sample.id for sample in samples] == [row["id"] for row in truth]
    assert len({sample.id for sample in samples}) == 3 * 7
    for sample in samples:
        image = cv2.imread(str(dataset / sample.path))
        assert image.shape == (96, 96, 3)
        assert sample.box is None
        assert sample.points5 is None
        assert sample.attributes["skin_tone"] in ("light", "medium", "dark")
    assert [sample.attributes["active_aus"] for sample in samples] == [row["active_aus"] for row in truth]
    drawn = draw(Shot(5, 2, "test", Expression.FEAR, 0, 96))
    (fear,) = [sample for sample in samples if sample.id == "p0002_fear_0"]
    np.testing.assert_allclose(fear.landmarks, drawn[3].landmarks, atol=1e-3)
    decoded = cv2.imread(str(dataset / fear.path))[..., ::-1]
    assert np.abs(decoded.astype(int) - drawn[3].image).mean() < 8  # JPEG


def test_truth_states_sides_and_active_aus(dataset: Path) -> None:
    for row in rows(dataset):
        means = {au: (float(row[f"au{au}_left"]) + float(row[f"au{au}_right"])) / 2 for au in AUS}
        listed = [int(au) for au in row["active_aus"].split(";") if au]
        assert listed == sorted(au for au, mean in means.items() if mean >= ACTIVE)
        assert set(listed) <= {part.au for part in PROTOTYPES[Expression.parse(row["expression"])]}
        assert -20 <= float(row["yaw"]) <= 20


def test_no_identity_is_in_both_splits(dataset: Path) -> None:
    splits = {split: {row["identity"] for row in rows(dataset) if row["split"] == split} for split in ("train", "test")}
    assert splits == {"train": {"p0000", "p0001"}, "test": {"p0002"}}


def test_the_number_of_workers_changes_nothing(dataset: Path, tmp_path: Path) -> None:
    generate(tmp_path / "faces", identities_train=2, identities_test=1, size=96, seed=5, workers=1)
    written = sorted(path.relative_to(dataset) for path in dataset.rglob("*.*"))
    assert written == sorted(path.relative_to(tmp_path / "faces") for path in (tmp_path / "faces").rglob("*.*"))
    assert len(written) == 22
    for path in written:
        assert (dataset / path).read_bytes() == (tmp_path / "faces" / path).read_bytes()


def test_an_earlier_dataset_is_replaced_and_nothing_else_is(tmp_path: Path) -> None:
    out = tmp_path / "faces"
    out.mkdir()
    generate(out, identities_train=1, identities_test=1, size=96)
    generate(out, identities_train=1, identities_test=1, size=96, seed=1, per_class=2)
    assert len(rows(out)) == len(list((out / "images").iterdir())) == 28
    (out / "images" / "mine.jpg").write_bytes(b"mine")
    with pytest.raises(UserError, match=r"holds mine\.jpg"):
        generate(out, identities_train=1, identities_test=1, size=96)
    assert (out / "images" / "mine.jpg").read_bytes() == b"mine"
    assert [path.name for path in tmp_path.iterdir()] == ["faces"]


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    module = "pipeline.synthetic"
    root = ROOT
    return subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=root, capture_output=True, text=True, check=False
    )


def test_command_refuses_in_one_line(tmp_path: Path) -> None:
    counts = ("--identities-train", "1", "--identities-test", "0")
    refused = command("--out", str(tmp_path / "faces"), *counts)
    assert refused.returncode == 1
    assert refused.stderr == "error: --identities-test: 0 is below 1\n"
    assert not (tmp_path / "faces").exists()


@pytest.mark.parametrize(
    ("name", "number", "lowest"),
    [
        ("identities_train", 0, 1),
        ("identities_test", -1, 1),
        ("size", 95, 96),
        ("seed", -1, 0),
        ("per_class", 0, 1),
        ("workers", 0, 1),
    ],
)
def test_numbers_that_are_too_small_are_refused(tmp_path: Path, name: str, number: int, lowest: int) -> None:
    values = {"identities_train": 1, "identities_test": 1, "size": 96, name: number}
    with pytest.raises(UserError, match=f"--{name.replace('_', '-')}: {number} is below {lowest}"):
        generate(tmp_path / "faces", **values)
    assert not list(tmp_path.iterdir())


def test_the_config_allows_no_smaller_size_either() -> None:
    assert Generate(identities_train=1, identities_test=1, size=96)
    with pytest.raises(ValidationError):
        Generate(identities_train=1, identities_test=1, size=95)


def test_reader_names_what_is_missing(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"truth.csv is missing.*pipeline.synthetic"):
        list(synthetic.read(tmp_path))
    text = (dataset / "truth.csv").read_text(encoding="utf-8")
    (tmp_path / "truth.csv").write_text(text.replace("skin_tone", "tone"), encoding="utf-8")
    with pytest.raises(UserError, match="no column skin_tone"):
        list(synthetic.read(tmp_path))
    (tmp_path / "truth.csv").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"line 2: images/p0000_neutral_0.jpg is missing"):
        list(synthetic.read(tmp_path))
    (tmp_path / "truth.csv").write_text(text.replace(",happiness,", ",joy,"), encoding="utf-8")
    (tmp_path / "images").symlink_to(dataset / "images")
    with pytest.raises(UserError, match=r"line 3: unknown expression 'joy'"):
        list(synthetic.read(tmp_path))


def test_reading_does_not_import_the_renderer() -> None:
    program = (
        "import sys; from pipeline.plugins import load; load('pipeline.sources', 'synthetic');"
        "print([name for name in sys.modules if name.startswith(('pipeline.synthetic', 'cv2'))])"
    )
    root = ROOT
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
