"""Votes as what is learned: the targets of hand-made votes, and the loss that follows."""

from copy import copy

import numpy as np
import pytest
import torch

from pipeline.errors import UserError
from pipeline.storage import shards
from tests.support.family import FAMILY
from train.card.schema import Heatmap
from train.data.batches import TrainingBatches
from train.data.prepared import Prepared, part_rows, targets
from train.methods.base import Method, Output, build_method

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def prepared(prepared_folder):
    return Prepared(prepared_folder, Heatmap())


@pytest.fixture
def voted(prepared):
    """The small dataset with votes: by hand for row 0, none for row 1, else 7 for the class and 3 for class 0."""
    one = copy(prepared)
    votes = np.zeros((len(prepared.ids), 7), np.float32)
    votes[np.arange(len(votes)), prepared.expressions] = 7
    votes[:, 0] += 3
    votes[0], votes[1] = [0, 0, 1, 4, 2, 3, 0], np.nan
    one.votes = votes
    return one


def test_targets_are_the_shares_of_the_votes(voted, make_card):
    card = make_card(data__target="votes")
    rows = targets(voted, card)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows[0], [0, 0, 0.1, 0.4, 0.2, 0.3, 0], rtol=1e-6)
    assert rows[1].tolist() == np.eye(7)[voted.expressions[1]].tolist()
    np.testing.assert_allclose(rows.sum(1), 1, rtol=1e-6)
    np.testing.assert_array_equal(targets(voted, make_card()), np.eye(7)[voted.expressions])


def test_a_batch_learns_them_and_the_loss_is_that_by_hand(voted, make_card):
    card = make_card(data__target="votes")
    rows = part_rows(voted, card, "train")
    for step in TrainingBatches(voted, card, rows, CPU).epoch(0):
        np.testing.assert_array_equal(step.batch.target.numpy(), targets(voted, card)[step.rows])
    target = torch.tensor([[0, 0, 0.1, 0.4, 0.2, 0.3, 0]])
    logits = torch.tensor([[0.0, 0, 0, np.log(2), 0, 0, 0]])  # probabilities 1/8, that of class 3 is 1/4
    loss = Method().classification_loss(Output(logits, {}), target)
    assert loss.item() == pytest.approx(-(0.4 * np.log(1 / 4) + 0.6 * np.log(1 / 8)), rel=1e-6)


def test_votes_of_the_shards_are_read(prepared_folder, prepared, tmp_path):
    assert prepared.votes is None
    (tmp_path / "heatmaps").symlink_to(prepared_folder / "heatmaps")
    given = []
    for path in sorted((prepared_folder / "faces").glob("*.h5")):
        shard = shards.Shard(path)
        columns = shard.columns()
        votes = np.random.default_rng(int(path.stem)).integers(0, 5, (len(columns["id"]), 7)).astype(np.float32)
        shards.write(tmp_path / "faces" / path.name, {**columns, "votes": votes}, of=2, **shard.attributes)
        given.append(votes)
    np.testing.assert_array_equal(Prepared(tmp_path, Heatmap()).votes, np.concatenate(given))


def test_votes_are_refused_where_there_are_none(prepared, make_card):
    card = make_card(data__target="votes")
    with pytest.raises(UserError, match=r"^datasets\.small\.target: the faces in .* have no votes; write label$"):
        TrainingBatches(prepared, card, part_rows(prepared, card, "train"), CPU)
    assert "target" not in make_card().model_dump(mode="json")["data"]
    assert card.digest() != make_card().digest()


@pytest.mark.parametrize("name", sorted(FAMILY))
def test_every_method_takes_votes(name, make_card):
    """Votes for one class give the loss of that label, a mixture the log probabilities weighted by hand."""
    method = build_method(make_card(method=name, **FAMILY[name])).eval()
    for parameter in method.parameters():  # some heads start at zero
        parameter.data += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))
    images, one_hot = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)), torch.eye(7)[[2, 5]]
    output = method(images, one_hot)
    towers = (output.logits, *output.extra_logits)
    assert len(towers) == (2 if name == "acol" else 1)
    hard = sum(torch.nn.functional.cross_entropy(logits, torch.tensor([2, 5])) for logits in towers)
    torch.testing.assert_close(method.classification_loss(output, one_hot), hard)
    mixture = torch.tensor([[0, 0, 0.7, 0, 0.3, 0, 0], [0, 0.1, 0, 0, 0, 0.9, 0]])
    logs = [logits.log_softmax(1) for logits in towers]
    by_hand = sum(-(0.7 * log[0, 2] + 0.3 * log[0, 4] + 0.1 * log[1, 1] + 0.9 * log[1, 5]) / 2 for log in logs)
    output = method(images, mixture)  # ACoL erases by the class with most votes, the same ones as above
    torch.testing.assert_close(method.classification_loss(output, mixture), by_hand)
