"""Everything put together and set as HTML."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from eval.metrics.baselines import BASELINES
from eval.records.runs import STATES, Place, Run, Setting, done, expected_runs, read_grid
from eval.report import claims, classes, comparisons, figures, gallery, origin, quality, runs, tables, trust
from eval.report.cells import Block, Cell, Column, Table, of_texts
from eval.report.numbers import number
from eval.tables import layout

FOLDER = Path(__file__).with_name("page")
TITLE = "Where does the network look?"
SECTIONS = {  # template -> heading
    "summary": "Summary",
    "trust": "How far to trust it",
    "tables": "Tables",
    "figures": "Figures",
    "classes": "Class by class",
    "gallery": "Gallery of test faces",
    "data": "Data quality",
    "origin": "Runs and origin",
}


def build(grid_file: Path, results: Path) -> str:
    """Return the page of a results folder as HTML; raise UserError if the grid is none."""
    grid = read_grid(grid_file)
    found = expected_runs(grid, results)
    base = runs.base(grid, found)
    content = {
        **_frame(grid, found, results),
        **_tables(grid, found, base, results),
        **_pictures(grid, found, base, results / "figures"),
        "faces_behind": trust.faces_behind(found),
        "ladders": trust.ladders(found, base),
        "discrimination": _discrimination(found, base),
        "truth": number(truth, 3) if (truth := trust.codebook_truth(found)) is not None else "",
        "baselines": {baseline.label: baseline.description for baseline in BASELINES.values()},
        "classes": classes.of_runs(found, base),
        "quality": quality.of_datasets(grid.get("datasets", {}), results),
        "origin": origin.of_runs(grid, found),
    }
    return environment().get_template("page.html").render(content)


def environment() -> Environment:
    """Make the environment of the templates: every value is escaped, and a missing one is an error."""
    return Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _frame(grid: Mapping[str, Any], found: Sequence[Run], results: Path) -> dict[str, Any]:
    counts = Counter(run.state for run in found)
    drawn = [name for name, dataset in grid.get("datasets", {}).items() if dataset.get("source") == "synthetic"]
    return {
        "title": TITLE,
        "style": Markup((FOLDER / "style.css").read_text(encoding="utf-8")),
        "script": Markup((FOLDER / "page.js").read_text(encoding="utf-8")),
        "sections": SECTIONS,
        "progress": {"all": len(found), **{state: counts[state] for state in STATES}},
        "made": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        "folder": str(results),
        "synthetic": drawn,
        "protocols": layout.PROTOCOLS,
    }


def _tables(
    grid: Mapping[str, Any], found: Sequence[Run], base: Mapping[Place, Setting], results: Path
) -> dict[str, Any]:
    by_name = {run.name: run for run in found}
    shown: dict[str, list[Table]] = {}
    compared: list[pd.DataFrame] = []
    for name, experiment in grid["experiments"].items():
        members = [by_name[run] for run in experiment["runs"]]
        state = f"{len(done(members))} of {len(members)} runs"
        own = shown[f"Experiment {name}, {state}"] = list(tables.of_experiment(name, experiment["kind"], members))
        comparison, remarks = comparisons.of_experiment(name, members, results / "tables")
        if remarks:
            place = len(tables.main_tables(experiment["kind"]))
            own.insert(place, comparisons.table(name, comparison, remarks))
        compared.append(comparison)
    shown["The authors' own checkpoints"] = list(tables.of_authors(results / "published" / "tables"))
    rows = comparisons.chosen(pd.concat(compared, ignore_index=True), base) if compared else []
    return {
        "experiments": {name: made for name, made in shown.items() if made},
        "claims": claims.paper(rows, found, base),
        "checks": trust.checks(rows, found, base),
        "verdicts": claims.VERDICTS,
    }


def _pictures(
    grid: Mapping[str, Any], found: Sequence[Run], base: Mapping[Place, Setting], folder: Path
) -> dict[str, Any]:
    together, single = figures.of_experiments(grid, found, folder), figures.of_runs(found, base, folder)
    return {
        "figures": together.figures,
        "single_figures": single.figures,
        "omitted_figures": together.omitted + single.omitted,
        "gallery": gallery.of_runs(found, base, folder),
    }


def _discrimination(found: Sequence[Run], base: Mapping[Place, Setting]) -> Block:
    rows = trust.discriminations(found, base)
    with_truth = any(row.truth is not None for row in rows)
    columns = [Column(name, numeric=False) for name in ("run", "AU term", "map")]
    names = ["skill", "retrieval, true (%)", "retrieval, predicted (%)", "own − other", "own face − others"]
    columns += [Column(name) for name in (*names, *(["active AUs"] * with_truth), "seeds")]
    body = []
    for row in rows:
        values = [(row.skill, 1, 3), (row.retrieval, 100, 1), (row.retrieval_predicted, 100, 1)]
        values += [(row.margin, 1, 3), (row.specificity, 1, 3), *([(row.truth, 1, 3)] * with_truth)]
        cells = [Cell(number(None if v is None else factor * v, places), v) for v, factor, places in values]
        body.append([*of_texts(row.of, row.guidance, row.map), *cells, Cell(str(row.seeds), row.seeds)])
    return Block("Skill and class discrimination", columns, body)
