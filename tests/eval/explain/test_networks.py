"""The network that comes along: small, described, made for photographs, and used when no other is named."""

import json
import re
import subprocess
import sys

import pytest

from eval.explain.explainer import Explainer
from eval.explain.networks import OURS, load_network
from pipeline.storage import images
from tests.support.paths import ROOT

README = (OURS / "README.md").read_text(encoding="utf-8")


def test_it_is_small_and_made_for_photographs():
    assert sum(path.stat().st_size for path in OURS.iterdir()) <= 6e6
    loaded = load_network(OURS)
    assert loaded.card.data.domain == "photographs"
    assert (loaded.card.method, loaded.card.variant) == ("cam", "au")
    explainer = Explainer(OURS)
    assert explainer.calibrated
    assert explainer.notes == [
        f"the network classifies {100 * accuracy():.0f} % of the test faces of fer2013 correctly"
    ]


def accuracy():
    return json.loads((OURS / "config.json").read_text())["test"]["accuracy"]


def test_its_card_says_what_it_is_worth_and_what_is_not_known():
    for heading in ("Make it again", "Results", "Maps", "Confusion", "Seeds", "Calibration", "Groups", "Licences"):
        assert f"\n## {heading}\n" in README
    assert f"| Accuracy | {accuracy():.3f} [" in README
    assert re.search(r"^\| attention, layer 5 \| 0\.\d{3} \| -?\d\.\d{3} \| 0\.\d{3} \|", README, re.MULTILINE)
    counts = [
        [int(number) for number in line.split("|")[2:9]]
        for line in README.splitlines()
        if re.match(r"\| \w+ \|( \d+ \|){7} 0\.\d{3} \|", line)
    ]
    assert sum(map(sum, counts)) == 3589
    assert sum(counts[place][place] for place in range(7)) / 3589 == pytest.approx(accuracy(), abs=1e-4)
    assert "`make model`" in README
    assert "nothing is known about groups" in README


@pytest.mark.slow
def test_it_answers_when_no_network_is_named(trained):
    picture = next((trained / "generated").rglob("p0003_happiness_0.jpg"))
    call = [sys.executable, "-m", "eval.explain", str(picture), "--json"]
    answer = json.loads(subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
    (face,) = Explainer(OURS).explain(images.read(picture))
    assert answer["faces"][0]["label"] == face.label
    assert answer["faces"][0]["domain"] == "photographs"
