"""Where the numbers come from: every run with its state and checkpoint, configuration, versions, machine, time."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from eval.records.runs import Run, done
from eval.report.cells import MISSING, Block, Cell, Column, of_number, of_texts
from eval.report.runs import au_term
from eval.tables import layout
from pipeline.errors import UserError
from train.checkpoints.checkpoint import commit, read_metadata
from train.hardware import machine

SHORT = 10  # characters of a hash that are shown


@dataclass(frozen=True)
class Origin:
    """All runs, the configuration as YAML, and facts (name, value) about versions, machine and time."""

    runs: Block
    config: str
    facts: list[tuple[str, str]]


def of_runs(grid: Mapping[str, Any], runs: Sequence[Run]) -> Origin:
    """Gather where everything comes from; missing checkpoints add nothing."""
    metas = [meta for run in done(runs) if (meta := _meta(run.folder / "checkpoint.safetensors"))]
    config = yaml.safe_dump(grid.get("config", {}), sort_keys=False, allow_unicode=True, width=100)
    return Origin(_runs(runs), config, [*_trained(metas, runs), *_made()])


def _meta(path: Path) -> dict[str, Any]:
    try:
        return read_metadata(path)
    except UserError:
        return {}


def _runs(runs: Sequence[Run]) -> Block:
    names = (
        "dataset", "protocol", "method", "AU term", "seed", "state", "CL (%)", "ATT-COS", "epochs", "time",
        "checkpoint", "commit",
    )  # fmt: skip
    columns = [Column(name, numeric=name in ("seed", "CL (%)", "ATT-COS", "epochs", "time")) for name in names]
    return Block("Runs", columns, [_line(run) for run in runs])


def _line(run: Run) -> list[Cell]:
    cells = of_texts(run.dataset, run.protocol, layout.method_name(run.method), au_term(run.setting))
    cells.append(Cell(str(run.seed), run.seed))
    cells.append(Cell(run.state, run.state, state=run.state if run.state != "done" else ""))
    if run.state != "done":
        return cells + [Cell("", None)] * 6
    accuracy, cosine = 100 * run.scores["accuracy"], run.scores["attention_cosine"][str(run.layer)]
    epochs, seconds = _history(run.folder / "history.csv")
    hashes = [str(run.scores.get(key, ""))[:SHORT] for key in ("checkpoint", "commit")]
    return [
        *cells,
        of_number(accuracy, 2),
        of_number(cosine, 3),
        Cell(str(epochs) if epochs else MISSING, epochs),
        Cell(_duration(seconds) if seconds else MISSING, seconds),
        *of_texts(*hashes),
    ]


def _history(path: Path) -> tuple[int | None, float | None]:
    if not path.is_file():
        return None, None
    history = pd.read_csv(path)
    return len(history), float(history["seconds"].sum()) if "seconds" in history else None


def _duration(seconds: float) -> str:
    """Write a time as 4.8 s, 48 s, 12 min or 3.4 h."""
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _trained(metas: Sequence[Mapping[str, Any]], runs: Sequence[Run]) -> list[tuple[str, str]]:
    """Return the facts that the checkpoints hold; where they differ, all of them."""
    commits = [str(meta.get("commit", "")) for meta in metas]
    selected = {
        f"{card['protocol']}, {card['dataset']}: {said}"
        for meta in metas
        if (card := meta.get("card")) and (said := meta.get("scores", {}).get("validation"))
    }
    values = {
        "validation": selected,
        "trained at commit": {commit[:SHORT] + "+changes" * ("+" in commit) for commit in commits},
        "trained with": {_listed(meta.get("versions", {})) for meta in metas},
        "trained on": {_listed(meta.get("machine", {})) for meta in metas},
    }
    facts = [(name, "; or ".join(known)) for name, texts in values.items() if (known := sorted(filter(None, texts)))]
    trainings = {run.scores.get("checkpoint"): run for run in done(runs)}  # methods may share one
    total = sum(_history(run.folder / "history.csv")[1] or 0 for run in trainings.values())
    if total:
        facts.append(("time of all finished trainings", _duration(total)))
    return facts


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {text}" for name, text in values.items() if text)


def _made() -> list[tuple[str, str]]:
    versions = {"python": platform.python_version()}
    versions |= {name: version(name) for name in ("numpy", "pandas", "matplotlib")}
    return [("this page made at commit", commit()), ("with", _listed(versions)), ("on", _listed(machine()))]
