"""The card of a run survives its file."""

import pytest

from pipeline.errors import UserError
from train.card.checks import parse_card, read_card, write_card
from workflow.config import parse
from workflow.grid import card, grid
from workflow.run_names import Run


def test_a_card_survives_the_file(paper, tmp_path):
    made = card(paper, grid(paper)[1])
    write_card(made, tmp_path / "run.yaml")
    assert read_card(tmp_path / "run.yaml") == made == parse_card(made.line(), "card")


def test_validation_and_target_of_the_config_reach_the_card(values):
    run = Run("heldout", "rafdb", "cam", "plain", 0)
    before = card(parse(values), run)
    values["validation"]["split"] = "own"
    values["datasets"]["rafdb"]["target"] = "votes"
    data = card(parse(values), run).data
    assert (data.validation_split, data.target) == ("own", "votes")
    assert (before.data.validation_split, before.data.target) == ("auto", "label")
    assert before.data.domain == "photographs"
    assert {"validation_split", "target", "domain"}.isdisjoint(before.model_dump(mode="json")["data"])
    values["datasets"]["rafdb"]["target"] = "vote"
    with pytest.raises(UserError, match=r"datasets\.rafdb\.target: Input should be 'label' or 'votes'"):
        parse(values)


def test_a_network_of_drawn_faces_knows_its_domain(values):
    values["datasets"]["rafdb"]["source"] = "synthetic"
    drawn = card(parse(values), Run("heldout", "rafdb", "cam", "plain", 0))
    assert drawn.data.domain == "drawings"
    assert drawn.model_dump(mode="json")["data"]["domain"] == "drawings"


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
