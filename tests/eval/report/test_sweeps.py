"""The paper's claims about layers and lambda, on constructed scores."""

from dataclasses import replace
from pathlib import Path

import pytest

from eval.records.runs import gather
from eval.report import sweeps
from tests.support.scored import guided, scores

COSINES = dict.fromkeys("12345", 0.5)
PAPER = {  # Table 3: guided layers -> accuracy, CAM-COS
    (1,): (0.8852, 0.58), (2,): (0.8826, 0.57), (3,): (0.8839, 0.56), (4,): (0.8862, 0.61), (5,): (0.8895, 0.70),
    (5, 4): (0.8878, 0.67), (5, 4, 3): (0.8878, 0.67), (5, 4, 3, 2): (0.8855, 0.67), (5, 4, 3, 2, 1): (0.8846, 0.67),
}  # fmt: skip


def judged(files: list[Path], name: str) -> sweeps.Claim:
    return {claim.name: claim for claim in sweeps.sweep_claims(gather(files))}[name]


def of_layers(runs: Path, table: dict[tuple[int, ...], tuple[float, float]]) -> list[Path]:
    return [
        guided(runs, layers=list(one), settings=str(one), accuracy=share, cam_cosine=cam, attention_cosine=COSINES)
        for one, (share, cam) in table.items()
    ]


def of_weights(runs: Path, table: dict[float, tuple[float, float, float]]) -> list[Path]:
    """A sweep of lambda: accuracy, CAM-COS, ATT-COS; 0 is without AU."""
    files = []
    for weight, (share, cam, attention) in table.items():
        make = guided if weight else scores
        values = {"accuracy": share, "cam_cosine": cam, "attention_cosine": {"5": attention}}
        files.append(make(runs, weight=weight, settings=str(weight), **values))
    return files


def test_layer_5_is_best_in_the_papers_table(runs: Path) -> None:
    found = judged(of_layers(runs, PAPER), "layer")
    assert found.verdict == "held"
    assert [one.levels for one in found.evidence] == [
        "88.78 (layer 5+4) → 88.95 (layer 5)",
        "0.670 (layer 5+4) → 0.700 (layer 5)",
    ]
    assert [one.change for one in found.evidence] == ["+0.17", "+0.030"]
    assert found.evidence[0].what == "CAM, rafdb (heldout), λ 5: CL (%)"


def test_layer_5_is_not_best_where_another_one_is(runs: Path) -> None:
    found = judged(of_layers(runs, PAPER | {(4,): (0.9, 0.61)}), "layer")
    assert [one.verdict for one in found.evidence] == ["contradicted", "held"]
    assert found.verdict == "partly"
    assert found.evidence[0].change == "−1.05"


def test_equal_layers_show_nothing(runs: Path) -> None:
    found = judged(of_layers(runs, {(4,): (0.8, 0.6), (5,): (0.8, 0.6)}), "layer")
    assert [one.verdict for one in found.evidence] == ["unshown"] * 2


SWEEP = {  # lambda -> accuracy, CAM-COS, ATT-COS
    0.0: (0.8820, 0.55, 0.57), 1.0: (0.8850, 0.60, 0.70), 4.0: (0.8895, 0.70, 0.85), 8.0: (0.8860, 0.74, 0.87),
    12.0: (0.8840, 0.75, 0.88), 20.0: (0.8830, 0.745, 0.88),
}  # fmt: skip


def test_accuracy_peaks_near_4_and_cosines_stagnate_from_8(runs: Path) -> None:
    files = of_weights(runs, SWEEP)
    peak, plateau = judged(files, "peak"), judged(files, "plateau")
    assert (peak.verdict, plateau.verdict) == ("held", "held")
    assert peak.evidence[0].levels == "88.60 (λ 8) → 88.95 (λ 4)"
    assert peak.finding == "88.60 (λ 8) → 88.95 (λ 4), difference +0.35; CAM, rafdb (heldout), layer 5: CL (%)."
    assert plateau.evidence[0].levels == "0.550 without AU, 0.740 at λ 8, 0.750 at λ 12"
    assert plateau.evidence[1].change == "+0.010 after +0.300"


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("peak", {12.0: (0.9, 0.75, 0.88)}),
        ("plateau", {8.0: (0.88, 0.70, 0.80)}),  # CAM-COS 0.05 after 0.15, ATT-COS 0.08 after 0.23
        ("plateau", dict.fromkeys((8.0, 12.0, 20.0), (0.88, 0.5, 0.5))),  # nothing rose
    ],
)
def test_other_sweeps_contradict(runs: Path, name: str, changes: dict[float, tuple[float, float, float]]) -> None:
    assert judged(of_weights(runs, SWEEP | changes), name).verdict == "contradicted"


@pytest.mark.parametrize("weights", [(4.0,), (4.0, 20.0), (0.0, 1.0, 4.0), (8.0,)])
def test_a_sweep_that_cannot_tell_tests_nothing(runs: Path, weights: tuple[float, ...]) -> None:
    files = of_weights(runs, {weight: SWEEP[weight] for weight in weights})
    assert [claim.verdict for claim in sweeps.sweep_claims(gather(files))] == ["untested"] * 3


def test_a_sweep_is_pending_until_all_of_its_settings_are_there(runs: Path) -> None:
    expected = gather(of_weights(runs, SWEEP))
    expected[-1] = replace(expected[-1], state="pending", scores={})
    found = {claim.name: claim for claim in sweeps.sweep_claims(expected)}
    assert (found["peak"].verdict, found["plateau"].verdict) == ("pending", "pending")
    assert found["plateau"].finding == "No comparison is finished; 2 are expected."


def test_a_method_without_cam_is_judged_by_what_it_has(runs: Path) -> None:
    files = of_weights(runs, {weight: (share, None, attention) for weight, (share, _, attention) in SWEEP.items()})
    found = judged(files, "plateau")
    assert (found.verdict, len(found.evidence)) == ("held", 1)
