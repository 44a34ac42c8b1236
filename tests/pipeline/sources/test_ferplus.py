"""FER+: labels and votes of hand-made rows, and the pictures that belong to them."""

import logging

import numpy as np
import pytest

from au_guidance.expressions import Expression
from pipeline import align, index
from pipeline.sources import ferplus
from pipeline.storage import shards
from tests.support.datasets import by_id, picture, refusal, write

HEADER = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\n"
ROWS = (  # votes in FER+'s order; the label that follows, or why there is none
    ("Training", (1, 6, 0, 2, 1, 0, 0, 0, 0, 0), "happiness"),
    ("Training", (0, 0, 1, 0, 2, 3, 4, 0, 0, 0), "fear"),
    ("Training", (5, 0, 0, 5, 0, 0, 0, 0, 0, 0), "1 with a tie"),
    ("Training", (2, 0, 0, 0, 0, 0, 0, 8, 0, 0), "1 contempt"),
    ("PublicTest", (0, 0, 0, 9, 1, 0, 0, 0, 0, 0), "sadness"),
    ("PublicTest", (1, 1, 1, 1, 1, 0, 0, 0, 5, 0), "1 unknown"),
    ("PrivateTest", (0, 0, 0, 0, 0, 0, 0, 0, 0, 10), "1 removed by FER+"),
    ("PrivateTest", (3, 0, 0, 0, 0, 0, 0, 0, 0, 7), "1 NF"),
    ("PrivateTest", (4, 0, 0, 0, 3, 3, 0, 0, 0, 0), "neutral"),
)
KEPT = {f"fer{number:07d}": row for number, row in enumerate(ROWS) if row[2].isalpha()}


@pytest.fixture(autouse=True)
def _log(caplog):
    caplog.set_level(logging.INFO)


@pytest.fixture
def votes(tmp_path):
    lines = [
        f"{usage},{'' if 'removed' in label else f'fer{number:07d}.png'},{','.join(map(str, counts))}\n"
        for number, (usage, counts, label) in enumerate(ROWS)
    ]
    write(tmp_path / "FERPlus" / "fer2013new.csv", HEADER + "".join(lines))
    return tmp_path


@pytest.fixture
def table(votes):
    """Beside the votes, FER2013's file: all pixels of row i are i, its labels are others than those of FER+."""
    rows = [f"3,{' '.join([str(number)] * 2304)},{usage}\n" for number, (usage, *_) in enumerate(ROWS)]
    write(votes / "fer2013" / "fer2013.csv", "emotion,pixels,Usage\n" + "".join(rows))
    return votes


def test_most_votes_make_the_label_and_the_rest_is_counted(table, caplog):
    samples = by_id(ferplus, table)
    assert {name: sample.expression.label for name, sample in samples.items()} == {k: row[2] for k, row in KEPT.items()}
    splits = {"Training": "train", "PublicTest": "validation", "PrivateTest": "test"}
    assert {name: sample.split for name, sample in samples.items()} == {k: splits[row[0]] for k, row in KEPT.items()}
    assert caplog.messages == [
        "left out: 5 pictures without a label of the seven: "
        "1 with a tie, 1 contempt, 1 unknown, 1 removed by FER+, 1 NF"
    ]
    # The project's order is neutral, happiness, surprise, fear, anger, disgust, sadness.
    assert samples["fer0000000"].votes.tolist() == [1, 6, 0, 0, 1, 0, 2]
    assert samples["fer0000001"].votes.tolist() == [0, 0, 1, 4, 2, 3, 0]
    for name, sample in samples.items():
        image = ferplus.read_image(table, sample.path)
        assert image.min() == image.max() == int(name[3:])


def test_the_votes_reach_index_and_face_shards(table, tmp_path):
    path = tmp_path / "index.csv"
    counts = index.build_index("ferplus", table, 1, path)
    assert {count.expected for count in counts} == {None}
    assert path.read_text().splitlines()[0].endswith("landmarks,votes")
    read = {sample.id: sample for sample in index.read_samples(path)}
    assert read["fer0000001"].votes.tolist() == [0, 0, 1, 4, 2, 3, 0]
    assert read["fer0000001"].attributes == {}
    options = {"detector": "none", "size": 64, "quality": 95, "mode": "corrected", "source": "ferplus"}
    align.align_shard(path, table, 0, tmp_path / "0.h5", **options)
    columns = shards.read(tmp_path / "0.h5", "id", "votes")
    assert columns["id"].tolist() == list(KEPT)
    assert columns["votes"].dtype == np.float32
    assert columns["votes"].tolist()[:2] == [[1, 6, 0, 0, 1, 0, 2], [0, 0, 1, 4, 2, 3, 0]]
    assert "attribute_votes" not in shards.Shard(tmp_path / "0.h5").names


def test_the_folders_of_ferplus_serve_too(votes):
    folders = {"Training": "FER2013Train", "PublicTest": "FER2013Valid", "PrivateTest": "FER2013Test"}
    for number, (usage, *_) in enumerate(ROWS):
        picture(votes / "data" / folders[usage] / f"fer{number:07d}.png")
    samples = by_id(ferplus, votes)
    assert list(samples) == list(KEPT)
    assert samples["fer0000004"].path == "data/FER2013Valid/fer0000004.png"
    assert samples["fer0000004"].expression is Expression.SADNESS
    assert all((votes / sample.path).is_file() for sample in samples.values())
    assert ferplus.read_image(votes, samples["fer0000004"].path) is None


def test_what_does_not_belong_together_is_refused(table):
    pixels = table / "fer2013" / "fer2013.csv"
    pixels.write_text("".join(pixels.read_text().splitlines(keepends=True)[:-1]))
    assert "do not list the same pictures in the same order" in refusal(ferplus, table)
    pixels.unlink()
    assert "class folders do not tell which picture a row is of" in refusal(ferplus, table)
    (table / "FERPlus" / "fer2013new.csv").unlink()
    assert "there is no fer2013new.csv; get it from" in refusal(ferplus, table)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Usage,Image name,neutral\n", "the column happiness is missing"),
        (f"{HEADER}Training,fer0000000.png,1,2,3\n", "line 2: expected a usage and ten counts"),
        (f"{HEADER}Train,fer0000000.png,1,2,3,0,0,0,0,0,0,0\n", "line 2: expected a usage and ten counts"),
    ],
)
def test_a_damaged_list_of_votes_is_named(tmp_path, text, reason):
    write(tmp_path / "fer2013new.csv", text)
    assert reason in refusal(ferplus, tmp_path)
