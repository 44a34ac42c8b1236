"""The paper's numbers: each names its source, and mistakes in them are named."""

from pathlib import Path

import pytest

from eval.tables import layout, paper
from pipeline.errors import UserError


def test_every_number_of_the_paper_names_its_source() -> None:
    rows = paper.read_numbers(paper.PAPER)
    assert rows["source"].str.len().min() > 20
    assert set(rows["method"]) <= {"", *layout.METHODS}
    shares = rows[rows["metric"].str.contains("cosine") & (rows["value"] != "--")]["value"].astype(float)
    assert shares.between(0, 1).all()
    spans = [paper.span("table2", "attention_cosine", variant) for variant in ("plain", "au")]
    assert spans == [(0.38, 0.65), (0.79, 0.88)]
    assert paper.span("table1", "cam_cosine", "plain", "rafdb") == (0.48, 0.60)


def test_mistakes_in_the_papers_numbers_are_named(tmp_path: Path) -> None:
    good = "table1,rafdb,prm,au,,,accuracy,88.1,somewhere in the paper"
    lines = {
        good.replace("table1", "table9"): "no table 'table9'; there are data, fig5, table1",
        good.replace("accuracy", "cam_cosine_lowest"): "no metric 'cam_cosine_lowest'",
        good.replace("accuracy", "acuracy"): "no metric 'acuracy'",
        good.replace(",au,", ",AU,"): "plain or au, not 'AU'",
        good.replace("88.1", "88.1 %"): "'88.1 %' is not a number",
        good.replace("somewhere in the paper", ""): "it has no source",
        f"{good}\n{good}": "line 3: the same number stands above",
    }
    path = tmp_path / "paper.csv"
    for line, problem in lines.items():
        path.write_text(f"{','.join(paper.COLUMNS)}\n{line}\n")
        with pytest.raises(UserError, match=problem):
            paper.read_numbers(path)
    path.write_text("table,value\n")
    with pytest.raises(UserError, match="must have the columns table, dataset"):
        paper.read_numbers(path)


def test_the_papers_number_of_a_layer_set_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "paper.csv"
    row = "table3,rafdb,cam,au,,5+4,accuracy,88.1,made up\ntable3,rafdb,cam,plain,,,accuracy,87.1,made up"
    path.write_text(f"{','.join(paper.COLUMNS)}\n{row}\n")
    monkeypatch.setattr(paper, "PAPER", path)
    paper.numbers.cache_clear()
    try:
        found = [
            paper.number("table3", "rafdb", "cam", variant=variant, metric="accuracy", weight=weight, layers=layers)
            for variant, weight, layers in (("au", 4.0, "5+4"), ("plain", 0.0, "5"), ("au", 4.0, "5"))
        ]
        assert found == [88.1, 87.1, None]
    finally:
        paper.numbers.cache_clear()
