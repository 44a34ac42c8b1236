"""Scores to tables: our numbers, the paper's where they are known, and the differences.

    python -m eval.tables KIND --scores FILE... [--grid grid.json --experiment NAME] [--so-far] --out tables/table1

| KIND | shows |
|---|---|
| table1, table2 | CL and CAM-COS; ATT-COS: each method without and with AU |
| table3, lambda | CL, CAM-COS and ATT-COS by layer set (Table 3) and by lambda (Fig. 5); `sweep`: by both |
| classification | accuracy, balanced accuracy, macro F1, calibration |
| baselines | every cosine beside its baselines, skill, class discrimination, localisation |
| faithfulness | perturbation and randomisation, from the faithfulness.json beside each scores file |
| groups | accuracy, cosines and landmark failures by gender, race, age |
| time | seconds per epoch, from the history.csv beside each scores file |

Writes `.csv` in long form (`eval.tables.pivot`), and `.md` and `.tex` for readers. With a grid, missing runs are
pending; without --scores, all finished runs of the grid are shown.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from eval.records.runs import Run, Scores, read_json
from eval.tables import layout, paper
from eval.tables.kinds import KINDS
from eval.tables.notes import notes
from eval.tables.pivot import pivot
from pipeline.errors import UserError


def with_extras(name: str, runs: Sequence[Run]) -> list[Run]:
    """Add the scores that a table needs from other files of the run's folder; runs without the file are pending."""
    extras = {"faithfulness": ("faithfulness.json", _faithfulness), "time": ("history.csv", _seconds)}
    if name not in extras:
        return list(runs)
    return [_with_extra(run, *extras[name]) if run.state == "done" else run for run in runs]


def _with_extra(run: Run, file: str, read: Callable[[Path], Scores]) -> Run:
    if not (run.folder / file).is_file():
        return replace(run, state="pending", scores={})
    return replace(run, scores=run.scores | read(run.folder / file))


def _faithfulness(path: Path) -> Scores:
    content = read_json(path, "faithfulness file", "python -m eval.faithfulness")
    stages = content.get("randomisation") or [{}]
    for kind, values in content.get("maps", {}).items():
        values["randomised"] = stages[-1].get(kind)
    return {"faithfulness": content}


def _seconds(path: Path) -> Scores:
    history = pd.read_csv(path)
    if "seconds" not in history or not history["seconds"].notna().any():
        raise UserError(f"{path} has no column seconds with numbers; it is not a history of python -m train")
    return {"seconds_per_epoch": float(history["seconds"].median())}


def write_table(name: str, runs: Sequence[Run], out: Path, *, complete: bool = True) -> None:
    """Write a table as `out`.csv, `out`.md and `out`.tex; `complete` as in `eval.tables.pivot`."""
    table = pivot(name, with_extras(name, runs), complete=complete)
    layout.write(out, table, KINDS[name].title, layout.blocks(name, table, paper.official_images()), notes(name, table))
