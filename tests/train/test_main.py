"""The command `python -m train`: it takes a card as a file or as JSON, and keeps it beside the run."""

import subprocess
import sys

import pytest
import yaml

from tests.support.paths import ROOT
from train.__main__ import main
from train.card.checks import read_card


@pytest.fixture
def train(monkeypatch, tmp_path):
    """Call the command with a card and return the cards that reach the training, which itself is left out."""
    trained = []
    monkeypatch.setattr("train.engine.loop.train", lambda card, out, **_: trained.append(card))
    monkeypatch.setattr("train.engine.signals.Stop.listen", lambda stop: stop)

    def call(card):
        monkeypatch.setattr(sys, "argv", ["train", card, "--out", str(tmp_path)])
        main()
        return trained

    return call


def test_a_card_given_as_json_is_kept_beside_the_run(train, make_card, tmp_path):
    card = make_card(seed=3)
    assert train(card.line()) == [card]
    assert read_card(tmp_path / "run.yaml") == card


def test_a_card_given_as_a_file_is_kept_beside_the_run(train, make_card, tmp_path):
    card = make_card(seed=4)
    given = tmp_path / "mine.yaml"
    given.write_text(yaml.safe_dump(card.model_dump(mode="json")))
    assert train(str(given)) == [card]
    assert read_card(tmp_path / "run.yaml") == card


def test_a_card_that_lies_there_keeps_its_comments(train, make_card, tmp_path):
    given = tmp_path / "run.yaml"
    given.write_text("# mine\n" + yaml.safe_dump(make_card().model_dump(mode="json")))
    train(str(given))
    assert given.read_text().startswith("# mine\n")


def test_a_wrong_card_is_refused_before_torch_is_imported(tmp_path):
    code = (
        "import sys; sys.argv = ['train', '{\"dataset\": 3}', '--out', 'nowhere']\n"
        "from pipeline.errors import UserError; from train.__main__ import main\n"
        "try:\n    main()\nexcept UserError as error:\n    print(error, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("card: dataset: ")
    assert done.stdout.endswith("False\n")
    assert not (ROOT / "nowhere").exists()
