"""The paper's claims about sweeps: which layer is the best to guide (Table 3), and what lambda does (Fig. 5).

They compare means over seeds, without an interval. A sweep is judged when all of its settings have a finished run.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from eval.compare.compare import digits
from eval.records.runs import OWN, Place, Run, done
from eval.report.cells import MISSING, heading, mean, number
from eval.report.claims import Claim, Evidence, claim, without_cam
from eval.report.runs import place_name
from eval.tables import layout
from eval.tables.kinds import measured

PEAK = (2.0, 6.0)  # near 4
PLATEAU = 8.0  # from this lambda on, cosines stagnate
REST = 0.1  # share of the rise that may come after it
COSINES = ("cam_cosine", "attention_cosine")

Layers = tuple[int, ...]
Setting = TypeVar("Setting", float, Layers)
Sweep = dict[Setting, list[Run]]


def sweep_claims(runs: Sequence[Run]) -> list[Claim]:
    """Judge the claims about sweeps; those that no experiment sweeps are not tested."""
    return [_last_layer(runs), _peak(runs), _plateau(runs)]


def _last_layer(runs: Sequence[Run]) -> Claim:
    """Judge whether accuracy and CAM-COS are highest where the last layer alone is guided."""
    evidence, expected = [], 0
    for place, weight, sweep in _of_layers(runs):
        metrics = _metrics(("accuracy", "cam_cosine"), place, runs)
        expected += len(metrics)
        last = (max(max(layers) for layers in sweep),)
        for metric in metrics:
            if values := _values(sweep, metric):
                named = {f"layer {layout.layers(layers)}": value for layers, value in values.items()}
                what = f"{place_name(place)}, λ {weight:g}: {heading(metric)}"
                evidence.append(_best(named, {f"layer {layout.layers(last)}"}, what, metric))
    return claim("layer", "Layer 5, the last one, is the best layer to guide", evidence, expected)


def _peak(runs: Sequence[Run]) -> Claim:
    """Judge whether accuracy is highest at a lambda near 4, if a sweep has some near, below and above it."""
    evidence, expected = [], 0
    low, high = PEAK
    for place, layers, sweep in _of_weights(runs):
        near = {weight for weight in sweep if low <= weight <= high}
        if not near or min(sweep) >= low or max(sweep) <= high:
            continue
        expected += 1
        if values := _values(sweep, "accuracy"):
            named = {f"λ {weight:g}": value for weight, value in values.items()}
            what = f"{place_name(place)}, layer {layout.layers(layers)}: {heading('accuracy')}"
            evidence.append(_best(named, {f"λ {weight:g}" for weight in near}, what, "accuracy"))
    return claim("peak", f"Accuracy is highest near λ 4 (between {low:g} and {high:g})", evidence, expected)


def _plateau(runs: Sequence[Run]) -> Claim:
    """Judge whether the rise of a cosine from plain to the highest lambda comes before lambda 8, but for a tenth."""
    evidence, expected = [], 0
    for place, layers, sweep in _of_weights(runs):
        plain = [run for run in runs if run.place == place and not run.weight]
        later = sorted(weight for weight in sweep if weight >= PLATEAU)
        if len(later) < 2 or not plain:
            continue
        metrics = _metrics(COSINES, place, runs)
        expected += len(metrics)
        for metric in metrics:
            values, without = _values(sweep, metric), _values({0.0: plain}, metric)
            if values and without:
                what = f"{place_name(place)}, layer {layout.layers(layers)}: {heading(metric)}"
                evidence.append(_rest({weight: values[weight] for weight in later}, without[0.0], what))
    text = f"CAM-COS and ATT-COS stagnate from λ {PLATEAU:g}: less than a tenth of their rise comes later"
    return claim("plateau", text, evidence, expected)


def _rest(later: Mapping[float, float], plain: float, what: str) -> Evidence:
    """Compare the rise up to the first of the lambdas with what the others add."""
    (first, start), *others = later.items()
    top, value = max(others, key=lambda item: item[1])
    rise, rest = start - plain, value - start
    word = "held" if rise > 0 and rest <= REST * rise else "contradicted"
    levels = f"{number(plain, 3)} without AU, {number(start, 3)} at λ {first:g}, {number(value, 3)} at λ {top:g}"
    return Evidence(what, levels, f"{number(rest, 3, '+')} after {number(rise, 3, '+')}", MISSING, word)


def _best(values: Mapping[str, float], own: set[str], what: str, metric: str) -> Evidence:
    """Compare the best of `own` settings with the best of the others."""
    places = digits(metric)
    other, mine = (
        max((name for name in values if (name in own) is side), key=values.__getitem__) for side in (False, True)
    )
    change = values[mine] - values[other]
    word = "held" if change > 0 else "contradicted" if change < 0 else "unshown"
    levels = f"{number(values[other], places)} ({other}) → {number(values[mine], places)} ({mine})"
    return Evidence(what, levels, number(change, places, "+"), MISSING, word)


def _values(sweep: Sweep[Setting], metric: str) -> dict[Setting, float] | None:
    """Return a number of every setting, averaged over seeds; None if a setting has none yet."""
    values = {setting: mean(measured(run, "", metric) for run in done(runs)) for setting, runs in sweep.items()}
    known = {setting: value for setting, value in values.items() if value is not None}
    return known if len(known) == len(values) else None


def _metrics(metrics: Iterable[str], place: Place, runs: Sequence[Run]) -> list[str]:
    return [metric for metric in metrics if metric != "cam_cosine" or place[2] not in without_cam(runs)]


def _of_layers(runs: Iterable[Run]) -> list[tuple[Place, float, Sweep[Layers]]]:
    """List the sweeps of layers that hold the last layer alone, with the lambda that each has."""
    sweeps: dict[tuple[Place, float], Sweep[Layers]] = {}
    for run in _guided(runs):
        sweeps.setdefault((run.place, run.weight), {}).setdefault(run.layers, []).append(run)
    last = {key: (max(max(layers) for layers in sweep),) for key, sweep in sweeps.items()}
    return [(*key, sweep) for key, sweep in sweeps.items() if len(sweep) > 1 and last[key] in sweep]


def _of_weights(runs: Iterable[Run]) -> list[tuple[Place, Layers, Sweep[float]]]:
    """List the sweeps of lambda, with the layers that each guides."""
    sweeps: dict[tuple[Place, Layers], Sweep[float]] = {}
    for run in _guided(runs):
        sweeps.setdefault((run.place, run.layers), {}).setdefault(run.weight, []).append(run)
    return [(*key, sweep) for key, sweep in sweeps.items() if len(sweep) > 1]


def _guided(runs: Iterable[Run]) -> list[Run]:
    return [run for run in runs if run.weight and run.map == OWN]
