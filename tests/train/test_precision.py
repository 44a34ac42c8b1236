"""Mixed precision: what a card's `amp` means on a processor that computes with it and on one that would emulate it."""

import pytest
import torch

from train import hardware
from train.hardware import autocast, precision

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def processor(monkeypatch):
    def give(machine: str, **flags: bool) -> None:
        monkeypatch.setattr(hardware.platform, "machine", lambda: machine)
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: flags, raising=False)

    return give


@pytest.mark.parametrize(
    ("flag", "bf16", "fp16"), [("amx_bf16", 1, 0), ("avx512_bf16", 1, 0), ("amx_fp16", 0, 1), ("avx2", 0, 0)]
)
def test_a_processor_computes_in_half_precision_only_if_it_has_it(processor, flag, bf16, fp16):
    processor("x86_64", **{flag: True})
    assert precision("bf16", CPU) == (torch.bfloat16 if bf16 else torch.float32)
    assert precision("fp16", CPU) == (torch.float16 if fp16 else torch.float32)
    assert precision("off", CPU) == torch.float32


def test_what_an_old_torch_does_not_tell_is_not_used(processor, monkeypatch):
    processor("x86_64")
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert precision("bf16", CPU) == torch.float32


def test_a_torch_without_mkldnn_computes_in_single_precision(processor, monkeypatch):
    """As on Apple's processors, where the operator does not exist."""

    class NoOperators:
        def __getattr__(self, name):
            raise AttributeError(name)

    processor("arm64")
    monkeypatch.setattr(torch.ops, "mkldnn", NoOperators())
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert precision("bf16", CPU) == precision("fp16", CPU) == torch.float32
    assert autocast("bf16", CPU)._enabled is False


@pytest.mark.parametrize("supported", [True, False])
def test_an_arm_processor_is_asked_for_bf16(processor, monkeypatch, supported):
    processor("aarch64")
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: supported, raising=False)
    assert precision("bf16", CPU) == (torch.bfloat16 if supported else torch.float32)


def test_a_gpu_computes_in_the_precision_of_the_card(processor):
    processor("x86_64")
    assert precision("bf16", GPU) == torch.bfloat16
    assert precision("fp16", GPU) == torch.float16


def test_a_product_is_computed_in_that_precision(processor):
    product = torch.ones(2, 2)
    processor("x86_64", avx512_bf16=True)
    with autocast("bf16", CPU):
        assert (product @ product).dtype == torch.bfloat16
    processor("x86_64")
    with autocast("bf16", CPU):
        assert (product @ product).dtype == torch.float32
