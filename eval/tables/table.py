"""Scores to tables: ours, the paper's numbers where we know them, and the difference.

    python -m eval.tables.table KIND --scores FILE... [--grid grid.json --experiment NAME] [--so-far] --out tables/table1

| KIND | shows |
|---|---|
| table1, table2 | CL and CAM-COS; ATT-COS: each method without and with AU |
| table3, lambda | CL, CAM-COS and ATT-COS by layer set (Table 3) and by lambda (Fig. 5); `sweep`: by both |
| classification | accuracy, balanced accuracy, macro F1, calibration |
| baselines | every cosine beside its baselines, skill, class discrimination, localisation |
| faithfulness | perturbation and randomisation, from the faithfulness.json beside each scores file |
| groups | accuracy, cosines and landmark failures by gender, race, age |
| time | seconds per epoch, from the history.csv beside each scores file |

Writes `.csv` in long form (`eval.tables.pivot`), and `.md` and `.tex` to read. With a grid, runs that are missing are pending;
without --scores, all runs of the grid that there are are taken.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from eval.records.runs import Run, read_json
from eval.tables import layout, paper
from eval.tables.kinds import KINDS
from eval.tables.notes import notes
from eval.tables.pivot import pivot
from pipeline.errors import UserError
from pipeline.storage.files import beside, write_text


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
    """Write a table as `out`.csv, `out`.md and `out`.tex; `complete` as in `eval.tables.pivot`."""
    table = pivot(name, with_extras(name, runs), complete=complete)
    title, said = KINDS[name].title, notes(name, table)
    made = layout.blocks(name, table, paper.images())
    write_text(beside(out, ".csv"), table.to_csv(index=False))
    write_text(beside(out, ".md"), layout.markdown(title, made, said))
    write_text(beside(out, ".tex"), layout.latex(title, made, said))
