"""torch.compile: used where it works, left with one line where it does not."""

import pytest
import torch

from train.engine.learner import Compiled
from train.methods.base import build_method


@pytest.fixture
def method(make_card):
    torch.manual_seed(0)
    return build_method(make_card()).eval()


def test_a_compiled_method_gives_what_the_method_gives(method, monkeypatch):
    compiled = torch.compile
    monkeypatch.setattr(torch, "compile", lambda one: compiled(one, backend="aot_eager"))
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        expected, found = method(images), Compiled(method)(images)
    torch.testing.assert_close(found.logits, expected.logits)
    torch.testing.assert_close(found.features[5], expected.features[5])


def test_a_compiler_that_fails_is_told_once_and_done_without(method, monkeypatch, capsys):
    def broken(*_):
        raise RuntimeError("no C++ compiler\nand a long trace")

    monkeypatch.setattr(torch, "compile", lambda one: broken)
    forward, images = Compiled(method), torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        for _ in range(2):
            assert torch.equal(forward(images).logits, method(images).logits)
    said = capsys.readouterr().out
    assert said == "training.compile: not compiled (RuntimeError: no C++ compiler); going on without\n"
    with pytest.raises(RuntimeError, match="size"):  # an error of the method itself stays one
        forward(torch.rand(2, 5, 64, 64))
