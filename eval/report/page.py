"""The page: all parts of the report, rendered as HTML."""

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
from eval.report import claims, classes, comparisons, figures, gallery, origin, quality, runs, sweeps, tables, trust
from eval.report.cells import Table, number
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


def build_page(grid_file: Path, results: Path) -> str:
    """Return the page of a results folder as HTML; raise UserError if `grid_file` is not a grid."""
    grid = read_grid(grid_file)
    expected = expected_runs(grid, results)
    base = runs.base(grid, expected)
    content = {
        **_frame(grid, expected, results),
        **_tables(grid, expected, base, results),
        **_pictures(grid, expected, base, results / "figures"),
        "test_faces": trust.of_test_faces(expected),
        "ladders": trust.ladders(expected, base),
        "discrimination": trust.table(trust.discriminations(expected, base)),
        "truth": number(truth, 3) if (truth := trust.codebook_truth(expected)) is not None else "",
        "baselines": {baseline.label: baseline.description for baseline in BASELINES.values()},
        "classes": classes.of_runs(expected, base),
        "quality": quality.of_datasets(grid.get("datasets", {}), results),
        "origin": origin.of_runs(grid, expected),
    }
    return environment().get_template("page.html").render(content)


def environment() -> Environment:
    """Return the environment of the templates: values are escaped, and a missing one is an error."""
    return Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _frame(grid: Mapping[str, Any], expected: Sequence[Run], results: Path) -> dict[str, Any]:
    counts = Counter(run.state for run in expected)
    drawn = [name for name, dataset in grid.get("datasets", {}).items() if dataset.get("source") == "synthetic"]
    return {
        "title": TITLE,
        "style": Markup((FOLDER / "style.css").read_text(encoding="utf-8")),
        "script": Markup((FOLDER / "page.js").read_text(encoding="utf-8")),
        "sections": SECTIONS,
        "progress": {"all": len(expected), **{state: counts[state] for state in STATES}},
        "made": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        "folder": str(results),
        "synthetic": drawn,
        "protocols": layout.PROTOCOLS,
    }


def _tables(
    grid: Mapping[str, Any], expected: Sequence[Run], base: Mapping[Place, Setting], results: Path
) -> dict[str, Any]:
    by_name = {run.name: run for run in expected}
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
        "claims": [*claims.paper_claims(rows, expected, base), *sweeps.sweep_claims(expected)],
        "checks": claims.checks(rows, expected, base),
        "verdicts": claims.VERDICTS,
    }


def _pictures(
    grid: Mapping[str, Any], expected: Sequence[Run], base: Mapping[Place, Setting], folder: Path
) -> dict[str, Any]:
    together, single = figures.of_experiments(grid, expected, folder), figures.of_runs(expected, base, folder)
    return {
        "figures": together.figures,
        "single_figures": single.figures,
        "omitted_figures": together.omitted + single.omitted,
        "gallery": gallery.of_runs(expected, base, folder),
    }
