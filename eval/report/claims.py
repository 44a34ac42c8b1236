"""The paper's claims and what they leave open, each judged from the paired comparisons and their intervals.

A claim that something rises holds if the 95 % interval of the difference lies above 0 and the p value, corrected by
Holm over its table, is below 0.05; it is contradicted if the interval lies below 0; otherwise it is not shown.
Accuracy is preserved if the interval lies above -1 point and not entirely below 0; below 0 it drops. ATT-COS gains more
than CAM-COS if the two intervals do not overlap. Levels and times are compared by their means.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from eval.compare.compare import digits
from eval.records.runs import OWN, PLAIN, Place, Run, Setting, done
from eval.report import trust
from eval.report.cells import MISSING, Row, heading, mean, number, number_of, p_value
from eval.report.runs import groups, place_name
from eval.tables import layout, paper
from eval.tables.kinds import measured
from eval.tables.table import with_extras
from pipeline.errors import UserError

MARGIN = 1.0  # points of accuracy, less than the difference between two seeds
LEVEL = 0.05
AFFECTNET = "affectnet"  # its name in the config
LISTED, LISTED_SCORES = 3, 4  # comparisons and scores that a sentence lists
UNFINISHED = "No guided run is finished."
VERDICTS = {
    "held": "held",
    "partly": "held in part",
    "unshown": "not shown",
    "contradicted": "contradicted",
    "pending": "pending",
    "untested": "not tested",
}


@dataclass(frozen=True)
class Evidence:
    """One comparison behind a claim: what it is of, its numbers as text, and its verdict (a key of VERDICTS)."""

    what: str
    levels: str
    change: str
    p: str
    verdict: str


@dataclass(frozen=True)
class Claim:
    """A claim, its verdict over all comparisons, a sentence with the numbers, and the comparisons themselves."""

    name: str
    text: str
    verdict: str
    finding: str
    evidence: list[Evidence] = field(default_factory=list)

    @property
    def word(self) -> str:
        """The verdict for readers."""
        return VERDICTS[self.verdict]


def rises(rows: Iterable[Row], metric: str, against: str = "plain") -> list[Evidence]:
    """Judge for every place whether a metric rises compared with the runs without AU or with a control."""
    return [_evidence(row, _rise(row)) for row in rows if (row["metric"], row["against"]) == (metric, against)]


def preserved(rows: Iterable[Row]) -> list[Evidence]:
    """Judge for every place whether accuracy is preserved."""
    return [_evidence(row, _stay(row)) for row in rows if (row["metric"], row["against"]) == ("accuracy", "plain")]


def _rise(row: Row) -> str:
    low, high, p = (_value(row, name) for name in ("low", "high", "p_holm"))
    if low > 0 and not p >= LEVEL:  # a missing p value, NaN, does not count against it
        return "held"
    return "contradicted" if high < 0 else "unshown"


def _stay(row: Row) -> str:
    low, high = _value(row, "low"), _value(row, "high")
    if high < 0:
        return "contradicted"
    return "held" if low > -MARGIN else "unshown"


def _evidence(row: Row, verdict: str) -> Evidence:
    places = digits(row["metric"])
    before, after = (number(_value(row, name), places) for name in ("plain", "guided"))
    low, high = (number(_value(row, name), places, "+") for name in ("low", "high"))
    what = place_name((row["dataset"], row["protocol"], row["method"]))
    return Evidence(
        what=f"{what}: {heading(row['metric'])}"
        + ("" if row["against"] == "plain" else f", against {layout.VARIANTS[row['against']]}"),
        levels=f"{before} → {after}",
        change=f"{number(_value(row, 'difference'), places, '+')} [{low}, {high}]",
        p=p_value(_value(row, "p_holm")),
        verdict=verdict,
    )


def _value(row: Row, name: str) -> float:
    value = number_of(row[name])
    return float("nan") if value is None else value


def verdict(evidence: Sequence[Evidence], expected: int) -> str:
    """Combine verdicts; `expected` is the number of comparisons that the configuration asks for."""
    verdicts = {comparison.verdict for comparison in evidence}
    if not expected:
        return "untested"
    if not verdicts:
        return "pending"
    return verdicts.pop() if len(verdicts) == 1 else "partly" if "held" in verdicts else "unshown"


def sentence(evidence: Sequence[Evidence], expected: int) -> str:
    """Return a sentence: in how many comparisons a claim held or, if there is only one, its numbers."""
    if not expected:
        return "This configuration does not test it."
    if not evidence:
        return f"No comparison is finished; {expected} are expected."
    held = sum(comparison.verdict == "held" for comparison in evidence)
    pending = max(0, expected - len(evidence))
    more = f" {pending} more are pending." if pending else ""
    if len(evidence) == 1:
        (comparison,) = evidence
        p = "" if comparison.p == MISSING else f", p (Holm) {comparison.p}"
        return f"{comparison.levels}, difference {comparison.change}{p}; {comparison.what}.{more}"
    listed = "; ".join(f"{comparison.levels} ({comparison.what.partition(':')[0]})" for comparison in evidence[:LISTED])
    rest = "; …" if len(evidence) > LISTED else ""
    return f"Held in {held} of {len(evidence)} comparisons: {listed}{rest}.{more}"


def claim(name: str, text: str, evidence: Sequence[Evidence], expected: int) -> Claim:
    """Make a claim of its evidence."""
    return Claim(name, text, verdict(evidence, expected), sentence(evidence, expected), list(evidence))


def paper_claims(rows: Sequence[Row], runs: Sequence[Run], base: Mapping[Place, Setting]) -> list[Claim]:
    """Judge the claims of the paper, but for those about sweeps (`eval.report.sweeps`)."""
    pairs = len(base)
    attention, cam = rises(rows, "attention_cosine"), rises(rows, "cam_cosine")
    with_cam = len({place for place in base if place[2] not in without_cam(runs)})
    on_affectnet = rises([row for row in rows if row["dataset"] == AFFECTNET], "accuracy")
    pairs_there = sum(dataset == AFFECTNET for dataset, _, _ in base)
    return [
        claim("attention", "AU guidance raises ATT-COS: the network looks where the expert looks", attention, pairs),
        claim("cam", "It raises CAM-COS: the class activation map moves to the action units too", cam, with_cam),
        claim("gain", "ATT-COS gains more than CAM-COS", _gains(rows, base), with_cam),
        claim("above", "With AU, ATT-COS is above CAM-COS", _levels(runs, base), with_cam),
        claim("accuracy", "It does not reduce accuracy", preserved(rows), pairs),
        claim("affectnet", "It improves accuracy on AffectNet", on_affectnet, pairs_there),
        _generic(attention, cam, base),
        _cheap(runs, base),
    ]


def without_cam(runs: Iterable[Run]) -> set[str]:
    """Return the methods that have no CAM, as far as their runs are done."""
    return {run.method for run in done(runs) if run.scores["cam_cosine"] is None}


def _gains(rows: Iterable[Row], base: Iterable[Place]) -> list[Evidence]:
    """Judge for every place whether the interval of the gain in ATT-COS lies above that of the gain in CAM-COS."""
    gains = {
        (row["dataset"], row["protocol"], row["method"], row["metric"]): [
            _value(row, name) for name in ("difference", "low", "high")
        ]
        for row in rows
        if row["against"] == "plain"
    }
    evidence = []
    for place in base:
        if (cam := gains.get((*place, "cam_cosine"))) and (attention := gains.get((*place, "attention_cosine"))):
            word = "held" if attention[1] > cam[2] else "contradicted" if attention[2] < cam[1] else "unshown"
            levels = f"CAM-COS {number(cam[0], 3, '+')}, ATT-COS {number(attention[0], 3, '+')}"
            change = number(attention[0] - cam[0], 3, "+")
            evidence.append(Evidence(place_name(place), levels, change, MISSING, word))
    return evidence


def _levels(runs: Iterable[Run], base: Mapping[Place, Setting]) -> list[Evidence]:
    """Judge for every place whether ATT-COS with AU, averaged over seeds, is above CAM-COS."""
    grouped, evidence = groups(done(runs)), []
    for place, chosen in base.items():
        members = grouped.get((place, chosen), [])
        cam, attention = (mean(measured(run, "", f"{kind}_cosine") for run in members) for kind in ("cam", "attention"))
        if cam is not None and attention is not None:
            word = "held" if attention > cam else "contradicted"
            levels, change = f"{number(cam, 3)} → {number(attention, 3)}", number(attention - cam, 3, "+")
            evidence.append(Evidence(place_name(place), levels, change, MISSING, word))
    return evidence


def _generic(attention: Sequence[Evidence], cam: Sequence[Evidence], base: Mapping[Place, Setting]) -> Claim:
    text = "It is generic: it works for every method"
    methods = list(dict.fromkeys(method for _, _, method in base))
    if len(methods) < 2:
        return Claim("generic", text, "untested", "This configuration has only one method.")
    names = {place_name(place): layout.method_name(place[2]) for place in base}
    judged: dict[str, set[str]] = {}
    for comparison in (*attention, *cam):
        judged.setdefault(names[comparison.what.partition(":")[0]], set()).add(comparison.verdict)
    held = [name for name, verdicts in judged.items() if verdicts == {"held"}]
    failed = [name for name in judged if name not in held]
    finding = f"ATT-COS and, if there is one, CAM-COS rose in all comparisons of {len(held)} of {len(judged)} methods"
    finding += f"; not in all of {', '.join(failed)}." if failed else f" ({', '.join(held)})." if held else "."
    pending = len(methods) - len(judged)
    finding += f" {pending} methods are pending." if pending else ""
    if len(judged) < 2:
        return Claim("generic", text, "pending", f"{len(judged)} of {len(methods)} methods are compared so far.")
    word = "held" if not failed else "partly" if held else "unshown"
    return Claim("generic", text, word, finding)


def _cheap(runs: Sequence[Run], base: Mapping[Place, Setting]) -> Claim:
    """Judge whether guidance lengthens an epoch by no more than in the paper, on RAF-DB."""
    plain, guided = _paper_seconds("rafdb")
    times = "{:.0f} s → {:.0f} s on RAF-DB, {:.0f} s → {:.0f} s on AffectNet"
    times = times.format(plain, guided, *_paper_seconds("affectnet"))
    text = f"It is cheap: an epoch takes little longer (in the paper {times})"
    grouped, evidence = groups(done(runs)), []
    for place, chosen in base.items():
        before, after = (_epoch(grouped.get((place, setting), [])) for setting in (PLAIN, chosen))
        if before and after:
            levels = f"{number(before, 1)} s → {number(after, 1)} s"
            change = f"{number(100 * (after / before - 1), 0, '+')} %"
            word = "held" if after / before <= guided / plain else "contradicted"
            evidence.append(Evidence(place_name(place), levels, change, MISSING, word))
    finding = sentence(evidence, len(base))
    if len(evidence) == 1:
        finding = f"{evidence[0].levels} per epoch, {evidence[0].change}; {evidence[0].what}."
    return Claim("time", text, verdict(evidence, len(base)), finding, evidence)


def _paper_seconds(dataset: str) -> tuple[float, float]:
    """Return the paper's seconds per epoch without and with AU."""
    known = paper.numbers("time")
    plain, guided = (known[dataset, "", variant, "", "", "seconds_per_epoch"] for variant in ("plain", "au"))
    return plain, guided


def _epoch(runs: Sequence[Run]) -> float | None:
    """Return the seconds per epoch: the median of each run, averaged over runs; None if no run has a history."""
    try:
        return mean(run.scores["seconds_per_epoch"] for run in with_extras("time", runs) if run.scores)
    except UserError:
        return None


def checks(rows: Sequence[Row], runs: Sequence[Run], base: Mapping[Place, Setting]) -> list[Claim]:
    """Judge whether guided maps beat controls and the class-agnostic mean, and whether they show the class."""
    guided = [maps for maps in trust.discriminations(runs, base) if maps.variant == layout.VARIANTS["au"]]
    return [_controls(rows, runs, base), _above_baseline(guided), _apart(guided)]


def _controls(rows: Sequence[Row], runs: Sequence[Run], base: Mapping[Place, Setting]) -> Claim:
    text = "The class's own AU map matters: it beats guidance by other maps"
    expected = {(run.place, run.map) for run in runs if run.weight and run.map != OWN and run.place in base}
    controls = dict.fromkeys(row["against"] for row in rows if row["against"] != "plain")
    evidence = [comparison for control in controls for comparison in rises(rows, "attention_cosine", control)]
    return claim("controls", text, evidence, len(expected))


def _above_baseline(guided: Sequence[trust.Discrimination]) -> Claim:
    text = "Guided maps beat the class-agnostic mean AU map, which ignores the image"
    word, skills = _judged(guided, "skill", 0.0, lambda skill: number(skill, 3, "+"))
    return Claim("baseline", text, word, f"Skill above that map, 1 being perfect: {skills}." if skills else UNFINISHED)


def _apart(guided: Sequence[trust.Discrimination]) -> Claim:
    text = "Guided maps show the class: of the six AU maps of a face, they match that of its own class best"
    word, shares = _judged(guided, "retrieval_true", 0.5, lambda share: f"{number(100 * share, 1)} %")
    finding = (
        f"The best match is correct for {shares} of the faces, macro over classes; chance is 17 %. "
        "Held means more than half."
    )
    return Claim("apart", text, word, finding if shares else UNFINISHED)


def _judged(
    guided: Sequence[trust.Discrimination], score: str, threshold: float, text: Callable[[float], str]
) -> tuple[str, str]:
    """Return the verdict, held if all known scores are above the threshold, and the scores as text."""
    known = [(maps, value) for maps in guided if (value := maps.scores[score]) is not None]
    if not known:
        return "pending", ""
    above = sum(value > threshold for _, value in known)
    listed = ", ".join(f"{text(value)} ({maps.map}, {maps.of})" for maps, value in known[:LISTED_SCORES])
    listed += f" and {len(known) - LISTED_SCORES} more" if len(known) > LISTED_SCORES else ""
    return "held" if above == len(known) else "partly" if above else "contradicted", listed
