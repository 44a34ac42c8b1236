"""The card of a run survives its file."""

import pytest

from pipeline.errors import UserError
from train.card.checks import parse_card, read_card, write_card
from workflow.grid import card, grid
from workflow.run_names import Run


def test_a_card_survives_the_file(paper, tmp_path):
    made = card(paper, grid(paper)[1])
    write_card(made, tmp_path / "run.yaml")
    assert read_card(tmp_path / "run.yaml") == made == parse_card(made.line(), "card")


def test_the_order_of_options_does_not_change_a_card(paper):
    made = card(paper, Run("heldout", "rafdb", "apvit", "plain", 0))
    there, back = ({"keep": 50, "depth": 4}, {"depth": 4, "keep": 50})
    one, other = (
        made.model_copy(update={"model": made.model.model_copy(update={"options": x})}) for x in (there, back)
    )
    assert one.model_dump_json() != other.model_dump_json()
    assert one.digest() == other.digest() != made.digest()
    assert one.digest(exclude={"seed"}) == other.digest(exclude={"seed"})


def test_a_damaged_card_is_named(paper, tmp_path):
    path = tmp_path / "run.yaml"
    write_card(card(paper, grid(paper)[0]), path)
    path.write_text(path.read_text().replace("seed: 0", "sed: 0", 1))
    with pytest.raises(UserError, match=r"run\.yaml: .*'sed'.*'seed'"):
        read_card(path)
