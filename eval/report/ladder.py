"""The ladders of cosines: what baselines, networks and controls reach on the same test faces.

Numbers are means over the seeds of a setting. Baselines are those of the run with AU if there is one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eval.metrics.baselines import BASELINES
from eval.metrics.names import COSINES
from eval.records.runs import PLAIN, Place, Run, Setting, done
from eval.report.numbers import mean, number
from eval.report.runs import groups, is_compared, map_scores, place_name, variant_name


@dataclass(frozen=True)
class Step:
    """A step of a ladder: a label and its cosine; `kind` is baseline, ceiling, plain, au or control."""

    label: str
    value: float
    kind: str
    remark: str = ""

    @property
    def text(self) -> str:
        """The cosine as text."""
        return number(self.value, 3)


@dataclass(frozen=True)
class Ladder:
    """The cosines with the AU maps of the same faces, from the lowest to the highest."""

    of: str
    map: str
    steps: list[Step]


def ladders(runs: Sequence[Run], base: Mapping[Place, Setting]) -> list[Ladder]:
    """Make the ladder of every place and kind of map that has a finished run."""
    grouped, made = groups(done(runs)), []
    for place, chosen in base.items():
        settings = [setting for other, setting in grouped if other == place and is_compared(setting, chosen)]
        for kind, name in COSINES.items():
            scores = {setting: map_scores(grouped[place, setting], kind) for setting in settings}
            if scores := {setting: maps for setting, maps in scores.items() if maps}:
                made.append(Ladder(place_name(place), name, _steps(scores, chosen)))
    return made


def _steps(scores: Mapping[Setting, Sequence[dict[str, Any]]], chosen: Setting) -> list[Step]:
    steps = []
    source = scores.get(chosen) or next(iter(scores.values()))
    for name, baseline in BASELINES.items():
        value = mean(maps["baselines"].get(name) for maps in source)
        if value is not None:
            kind = "ceiling" if name == "ceiling" else "baseline"
            steps.append(Step(baseline.label, value, kind, baseline.description))
    for setting, maps in scores.items():
        value = mean(score["cosine"]["macro"] for score in maps)
        kind = "plain" if setting == PLAIN else "au" if setting == chosen else "control"
        if value is not None:
            label = "guided by: " if kind == "control" else "network "
            steps.append(Step(label + variant_name(setting), value, kind))
    return sorted(steps, key=lambda step: step.value)
