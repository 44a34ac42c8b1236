"""How far a cosine can be trusted: what maps without a network reach, and whether maps tell the classes apart.

Numbers are means over the seeds of a setting. What is no network's is taken from the run with AU where there is one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from au_guidance.expressions import SIX
from eval.metrics.baselines import BASELINES
from eval.records.runs import OWN, PLAIN, Place, Run, Setting, done
from eval.report.cells import Row
from eval.report.claims import Claim, claim, rises
from eval.report.numbers import mean, number
from eval.report.runs import groups, place_name, variant_name
from eval.report.words import COSINES
from eval.tables import layout
from eval.tables.kinds import MAPS

SIX_LABELS = [expression.label for expression in SIX]
CHANCE = 1 / 6  # of the best match among the six AU maps


@dataclass(frozen=True)
class Step:
    """A rung of a ladder: what reaches which cosine; `kind` is baseline, ceiling, plain, au or control."""

    label: str
    value: float
    kind: str
    remark: str = ""

    @property
    def text(self) -> str:
        """The value for readers."""
        return number(self.value, 3)


@dataclass(frozen=True)
class Ladder:
    """All that reaches a cosine with the AU maps of the same faces, from the lowest to the highest."""

    of: str
    map: str
    steps: list[Step]


@dataclass(frozen=True)
class Discrimination:
    """Whether the maps of a setting tell the six classes apart, and what is left of their cosine above the baseline."""

    of: str
    guidance: str
    map: str
    seeds: int
    skill: float | None
    retrieval: float | None
    retrieval_predicted: float | None
    margin: float | None
    specificity: float | None
    truth: float | None


def ladders(runs: Sequence[Run], base: Mapping[Place, Setting]) -> list[Ladder]:
    """Make the ladder of every place and kind of map that has a finished run."""
    together, found = groups(done(runs)), []
    for place, setting in base.items():
        settings = [one for other, one in together if other == place and _shown(one, setting)]
        for kind in COSINES:
            own = {one: _maps(together[place, one], kind) for one in settings}
            own = {one: maps for one, maps in own.items() if maps}
            if own:
                found.append(Ladder(place_name(place), COSINES[kind], _steps(own, setting)))
    return found


def _shown(one: Setting, setting: Setting) -> bool:
    """Say whether a setting stands beside the base setting: itself, plain, or a control of it."""
    return one in (PLAIN, setting) or (one[2] != OWN and one[:2] == setting[:2])


def _maps(runs: Sequence[Run], kind: str) -> list[dict[str, Any]]:
    return [run.scores["maps"][kind] for run in runs if kind in run.scores.get("maps", {})]


def _steps(own: Mapping[Setting, list[dict[str, Any]]], setting: Setting) -> list[Step]:
    source = own.get(setting) or next(iter(own.values()))
    steps = []
    for name, baseline in BASELINES.items():
        value = mean([one["baselines"].get(name) for one in source])
        if value is not None:
            kind = "ceiling" if name == "ceiling" else "baseline"
            steps.append(Step(baseline.label, value, kind, baseline.description))
    for one, maps in own.items():
        value = mean([each["cosine"]["macro"] for each in maps])
        kind = "plain" if one == PLAIN else "au" if one == setting else "control"
        label = variant_name(one)
        if value is not None:
            steps.append(Step(f"guided by: {label}" if kind == "control" else f"network {label}", value, kind))
    return sorted(steps, key=lambda step: step.value)


def discriminations(runs: Sequence[Run], base: Mapping[Place, Setting]) -> list[Discrimination]:
    """Gather skill, retrieval and margins of every place, setting and kind of map."""
    found = []
    for (place, setting), members in groups(done(runs)).items():
        if place not in base or not _shown(setting, base[place]):
            continue
        for kind, label in MAPS.items():
            maps = _maps(members, kind)
            if maps:
                truths = [(run.scores.get("truth") or {}).get(kind) for run in members]
                found.append(_discrimination(place_name(place), variant_name(setting), label, maps, truths))
    return found


def _discrimination(
    of: str, guidance: str, label: str, maps: Sequence[dict[str, Any]], truths: Sequence[Any]
) -> Discrimination:
    macro = {
        name: mean([(one.get(name) or {}).get("macro") for one in maps])
        for name in ("retrieval_true", "retrieval_predicted", "own_minus_other", "specificity")
    }
    return Discrimination(
        of=of,
        guidance=guidance,
        map=label,
        seeds=len(maps),
        skill=mean([one.get("skill") for one in maps]),
        retrieval=macro["retrieval_true"],
        retrieval_predicted=macro["retrieval_predicted"],
        margin=macro["own_minus_other"],
        specificity=macro["specificity"],
        truth=mean([one["macro"] for one in truths if one]),
    )


def faces_behind(runs: Sequence[Run]) -> list[str]:
    """Say of every dataset how many faces are behind its numbers, and what their number alone does to them.

    The error of an accuracy a on n faces is 1.96 sqrt(a (1 - a) / n), the normal approximation of a 95 % interval.
    """
    said: dict[str, str] = {}
    for run in done(runs):
        scores, six = run.scores, run.scores["per_class"]
        rarest = min(SIX_LABELS, key=lambda label: six[label]["images_with_map"])
        accuracy, count = scores["accuracy"], scores["images"]
        error = 196 * (accuracy * (1 - accuracy) / count) ** 0.5
        said.setdefault(
            run.dataset,
            f"{run.dataset}: {count} test faces, {scores['images_with_map']} with an AU map. Other faces of the same "
            f"kind would move a CL of {number(100 * accuracy, 0)} % by about ±{number(error, 1)} points (95 %). The "
            f"rarest expression, {rarest}, has {six[rarest]['images_with_map']} faces with a map, and counts for a "
            "sixth of every cosine.",
        )
    return list(said.values())


def codebook_truth(runs: Sequence[Run]) -> float | None:
    """Return the cosine of the AU maps themselves with the maps of the truly active AUs, where a dataset knows them."""
    return mean([(run.scores.get("truth") or {}).get("heatmap", {}).get("macro") for run in done(runs)])


def checks(rows: Sequence[Row], runs: Sequence[Run], base: Mapping[Place, Setting]) -> list[Claim]:
    """Judge what the paper does not ask: controls, the class-agnostic baseline, telling the classes apart."""
    return [_controls(rows, runs, base), _above_baseline(runs, base), _apart(runs, base)]


def _controls(rows: Sequence[Row], runs: Sequence[Run], base: Mapping[Place, Setting]) -> Claim:
    expected = {(run.place, run.setting[2]) for run in runs if run.setting[2] not in ("", OWN) and run.place in base}
    text = "The class's own AU map matters: it beats guidance by other maps"
    names = dict.fromkeys(row["against"] for row in rows if row["against"] != "plain")
    found = [one for name in names for one in rises(rows, "attention_cosine", name)]
    return claim("controls", text, found, len(expected))


def _above_baseline(runs: Sequence[Run], base: Mapping[Place, Setting]) -> Claim:
    text = "Guided maps beat the mean AU map of all classes, which knows nothing of the image"
    found = [one for one in discriminations(runs, base) if one.guidance == layout.VARIANTS["au"]]
    known = [one for one in found if one.skill is not None]
    above = [one for one in known if one.skill and one.skill > 0]
    if not known:
        return Claim("baseline", text, "pending", "No guided run is finished.")
    listed = ", ".join(f"{number(one.skill, 3, '+')} ({one.map}, {one.of})" for one in known[:4])
    more = f" and {len(known) - 4} more" if len(known) > 4 else ""
    word = "held" if len(above) == len(known) else "partly" if above else "contradicted"
    return Claim("baseline", text, word, f"Skill above that map, 1 being perfect: {listed}{more}.")


def _apart(runs: Sequence[Run], base: Mapping[Place, Setting]) -> Claim:
    text = "Guided maps show the class: their best match among the six AU maps of the face is its own class's"
    found = [one for one in discriminations(runs, base) if one.guidance == layout.VARIANTS["au"]]
    known = [one for one in found if one.retrieval is not None]
    if not known:
        return Claim("apart", text, "pending", "No guided run is finished.")
    above = [one for one in known if (one.retrieval or 0) > 0.5]
    listed = ", ".join(f"{number(100 * (one.retrieval or 0), 1)} % ({one.map}, {one.of})" for one in known[:4])
    more = f" and {len(known) - 4} more" if len(known) > 4 else ""
    word = "held" if len(above) == len(known) else "partly" if above else "contradicted"
    finding = (
        f"The best match is right for {listed}{more} of the faces, macro over classes; chance is {100 * CHANCE:.0f} %."
    )
    return Claim("apart", text, word, f"{finding} Held means more than half.")
