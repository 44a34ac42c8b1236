"""Scores to tables: ours, the paper's numbers where we know them, and the difference.

    python -m eval.table KIND --scores FILE... [--grid grid.json --experiment NAME] [--so-far] --out tables/table1

| KIND | shows |
|---|---|
| table1, table2 | CL and CAM-COS; ATT-COS: each method without and with AU |
| table3, lambda | CL, CAM-COS and ATT-COS by layer set (Table 3) and by lambda (Fig. 5); `sweep`: by both |
| classification | accuracy, balanced accuracy, macro F1, calibration |
| honest | every cosine beside its floors, skill, class discrimination, localisation |
| faithfulness | perturbation and randomisation, from the faithfulness.json beside each scores file |
| groups | accuracy, cosines and landmark failures by gender, race, age |
| time | seconds per epoch, from the history.csv beside each scores file |

Writes `.csv` in long form (`eval.pivot`), and `.md` and `.tex` to read. With a grid, runs that are missing are pending;
without --scores, all runs of the grid that there are are taken.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from eval import layout, paper
from eval.files import beside
from eval.kinds import KINDS
from eval.notes import notes
from eval.pivot import pivot
from eval.results import Run, gather, read_json
from pipeline.errors import UserError, run
from pipeline.files import write_text


def with_extras(name: str, runs: Sequence[Run]) -> list[Run]:
    """Add what a table needs from other files of the run's folder; a run without such a file becomes pending."""
    read = {"faithfulness": _faithfulness, "time": _seconds}.get(name)
    if read is None:
        return list(runs)
    found = ((one, read(one.path.parent) if one.state == "done" else None) for one in runs)
    return [
        replace(one, scores={**one.scores, **more}) if more else replace(one, state=_later(one), scores={})
        for one, more in found
    ]


def _later(one: Run) -> str:
    return "pending" if one.state == "done" else one.state


def _faithfulness(folder: Path) -> dict[str, object] | None:
    path = folder / "faithfulness.json"
    if not path.is_file():
        return None
    found = read_json(path, "faithfulness file", "python -m eval.faithfulness")
    stages = found.get("randomisation") or [{}]
    for kind, values in found.get("maps", {}).items():
        values["randomised"] = stages[-1].get(kind)
    return {"faithfulness": found}


def _seconds(folder: Path) -> dict[str, object] | None:
    path = folder / "history.csv"
    if not path.is_file():
        return None
    history = pd.read_csv(path)
    if "seconds" not in history or not history["seconds"].notna().any():
        raise UserError(f"{path} has no column seconds with numbers; it is no history of python -m train")
    return {"seconds_per_epoch": float(history["seconds"].median())}


def write_table(name: str, runs: Sequence[Run], out: Path, *, complete: bool = True) -> None:
    """Write a table as `out`.csv, `out`.md and `out`.tex; `complete` as in `eval.pivot`."""
    table = pivot(name, with_extras(name, runs), complete=complete)
    title, said = KINDS[name].title, notes(name, table)
    made = layout.blocks(name, table, paper.images())
    write_text(beside(out, ".csv"), table.to_csv(index=False))
    write_text(beside(out, ".md"), layout.markdown(title, made, said))
    write_text(beside(out, ".tex"), layout.latex(title, made, said))


def add_selection(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say which runs are shown, for `eval.results.gather`."""
    parser.add_argument("--scores", type=Path, nargs="+", default=[], help="scores.json of the runs")
    parser.add_argument("--grid", type=Path, help="grid.json of the configuration: which runs are expected")
    parser.add_argument("--experiment", help="the experiment of the grid; all of them if left out")
    parser.add_argument("--so-far", action="store_true", help="call runs of an old configuration stale, do not stop")


def selected(arguments: argparse.Namespace) -> list[Run]:
    """Read the runs that the arguments of `add_selection` ask for; raise UserError if there are none."""
    if not arguments.scores and not arguments.grid:
        raise UserError("give --scores, --grid or both")
    return gather(arguments.scores, grid=arguments.grid, experiment=arguments.experiment, so_far=arguments.so_far)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Set the scores of runs as a table.")
    parser.add_argument("table", choices=sorted(KINDS), help="which table")
    add_selection(parser)
    parser.add_argument("--out", type=Path, required=True, help="path without suffix: .csv, .md and .tex are written")
    arguments = parser.parse_args()
    write_table(arguments.table, selected(arguments), arguments.out, complete=arguments.grid is None)


if __name__ == "__main__":
    run(main)
