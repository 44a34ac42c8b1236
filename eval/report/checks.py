"""What the paper's claims leave open: controls, the class-agnostic baseline, class discrimination."""

from collections.abc import Callable, Mapping, Sequence

from eval.records.runs import OWN, Place, Run, Setting
from eval.report import discrimination
from eval.report.cells import Row
from eval.report.claims import Claim, claim, rises
from eval.report.discrimination import Discrimination
from eval.report.numbers import number
from eval.tables import layout

CHANCE = 1 / 6  # of the best match among the six AU maps
MAJORITY = 0.5
LISTED = 4  # numbers that a sentence lists
PENDING = "No guided run is finished."


def checks(rows: Sequence[Row], runs: Sequence[Run], base: Mapping[Place, Setting]) -> list[Claim]:
    """Judge whether guided maps beat controls and the class-agnostic mean, and whether they show the class."""
    settings = discrimination.of_runs(runs, base)
    guided = [setting for setting in settings if setting.variant == layout.VARIANTS["au"]]
    return [_controls(rows, runs, base), _above_baseline(guided), _apart(guided)]


def _controls(rows: Sequence[Row], runs: Sequence[Run], base: Mapping[Place, Setting]) -> Claim:
    text = "The class's own AU map matters: it beats guidance by other maps"
    expected = {(run.place, run.map) for run in runs if run.weight and run.map != OWN and run.place in base}
    controls = dict.fromkeys(row["against"] for row in rows if row["against"] != "plain")
    evidence = [comparison for control in controls for comparison in rises(rows, "attention_cosine", control)]
    return claim("controls", text, evidence, len(expected))


def _above_baseline(guided: Sequence[Discrimination]) -> Claim:
    text = "Guided maps beat the class-agnostic mean AU map, which ignores the image"
    verdict, skills = _judged(
        [(setting, setting.skill) for setting in guided], 0.0, lambda skill: number(skill, 3, "+")
    )
    return Claim("baseline", text, verdict, f"Skill above that map, 1 being perfect: {skills}." if skills else PENDING)


def _apart(guided: Sequence[Discrimination]) -> Claim:
    text = "Guided maps show the class: of the six AU maps of a face, they match that of its own class best"
    values = [(setting, setting.retrieval) for setting in guided]
    verdict, shares = _judged(values, MAJORITY, lambda share: f"{number(100 * share, 1)} %")
    finding = (
        f"The best match is correct for {shares} of the faces, macro over classes; chance is {100 * CHANCE:.0f} %. "
        "Held means more than half."
    )
    return Claim("apart", text, verdict, finding if shares else PENDING)


def _judged(
    values: Sequence[tuple[Discrimination, float | None]], threshold: float, text: Callable[[float], str]
) -> tuple[str, str]:
    """Return the verdict, held if all known values are above the threshold, and the values as text."""
    known = [(of, value) for of, value in values if value is not None]
    if not known:
        return "pending", ""
    above = sum(value > threshold for _, value in known)
    verdict = "held" if above == len(known) else "partly" if above else "contradicted"
    listed = ", ".join(f"{text(value)} ({of.map}, {of.of})" for of, value in known[:LISTED])
    return verdict, listed + (f" and {len(known) - LISTED} more" if len(known) > LISTED else "")
