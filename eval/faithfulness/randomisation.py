"""Does a map show what the network learned? Weights are replaced by random ones, and the map must change.

Source: Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018, section 3.1, cascading randomisation.
"""

import re
from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from eval.predict import without_weights
from train.card.schema import Card
from train.methods.base import Method, build_method

LEAD = re.compile(r"(backbone\.)?(network\.)?")
LOOSE = "embeddings"  # parameters that no layer holds, such as a class token


def cascade(method: Method, card: Card, seed: int) -> Iterator[str]:
    """Replace the weights of a network stage by stage, from the logits down to the input; yield each stage's name.

    All stages above stay random, so that after the last one the whole network is untrained. The new weights, with the
    statistics of batch normalisation, are those of a fresh network of the card, drawn with `seed`.
    """
    fresh, state = untrained(card, seed).state_dict(), method.state_dict()
    for stage, names in reversed(stages(method).items()):
        for name in names:
            state[name].copy_(fresh[name])
        yield stage


def untrained(card: Card, seed: int) -> Method:
    """Build the network of a card with random weights where training would start from a file; torch's own dice stay."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_method(without_weights(card)).eval()


def stages(method: Method) -> dict[str, list[str]]:
    """Group the names of a network's tensors into stages, from the input to the output: {stage: names}.

    A stage is a part of the backbone or of the head that stands by itself (`layer4`, `fc`), or one of several like it
    (`blocks.3`); a normalisation belongs to what it follows. Parts are in the order of their registration, which is the
    order they run in. Parameters that belong to no layer come first.
    """
    modules, groups, last = dict(method.named_modules()), dict[str, list[str]]({LOOSE: []}), LOOSE
    for name in method.state_dict():
        path = _part(name, modules)
        stage = path.removeprefix("backbone.").removeprefix("network.") or LOOSE
        if stage != LOOSE and not (_normalises(modules[path]) and last != LOOSE):
            last = stage
        groups.setdefault(LOOSE if stage == LOOSE else last, []).append(name)
    return {stage: names for stage, names in groups.items() if names}


def _part(name: str, modules: dict[str, nn.Module]) -> str:
    """Return the path of the module that is the stage of a tensor; "" for a parameter outside all modules."""
    lead = LEAD.match(name)
    start = lead[0] if lead else ""
    first, _, rest = name.removeprefix(start).partition(".")
    if not rest:
        return ""
    number = rest.partition(".")[0]
    member = modules.get(f"{start}{first}.{number}")
    several = number.isdigit() and not first[-1].isdigit() and member is not None and any(member.children())
    return f"{start}{first}.{number}" if several else f"{start}{first}"


def _normalises(module: nn.Module) -> bool:
    own = len(list(module.parameters(recurse=False))) == len(list(module.parameters()))
    return own and "Norm" in type(module).__name__


def rank_correlation(first: NDArray[np.floating], second: NDArray[np.floating]) -> NDArray[np.float64]:
    """Compare maps (b, h, w) in pairs by Spearman's rank correlation, (b,): Pearson's of the ranks, ties averaged.

    In [-1, 1]: 1 where both order the pixels alike, near 0 where they have nothing in common. For a map of a network
    and that of its randomised version lower is better, and 1 means that the map does not depend on what was replaced.
    A constant map orders nothing and counts as 0. Source: Adebayo et al., 2018, section 4, without absolute values.
    """
    ranks = [pd.DataFrame(maps.reshape(len(maps), -1)).rank(axis=1).to_numpy() for maps in (first, second)]
    a, b = (values - values.mean(1, keepdims=True) for values in ranks)
    length = np.sqrt((a**2).sum(1) * (b**2).sum(1))
    correlations: NDArray[np.float64] = np.divide((a * b).sum(1), length, out=np.zeros(len(a)), where=length > 0)
    return correlations
