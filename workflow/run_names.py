"""The names of runs: a folder of their own, with lambda, layers and control in the name of the variant."""

import re
from dataclasses import dataclass, replace
from typing import Any, get_args

from train.card.schema import Control, Guidance

RUN = "{protocol}/{dataset}/{method}/{variant}/seed{seed}"  # folder of a run below `<results>/runs`
OWN = "own"  # the map of the face's own expression; every other map is a control
VARIANT = rf"plain|au-w[^/]+-l[1-5+]+(?:-(?:{'|'.join(get_args(Control))}))?"  # the names that `variant_name` gives
_CONTROL = re.compile(rf"-(?:{'|'.join(get_args(Control))})$")


@dataclass(frozen=True, order=True)
class Run:
    """One training: protocol x dataset x method x variant x seed."""

    protocol: str
    dataset: str
    method: str
    variant: str
    seed: int

    @property
    def folder(self) -> str:
        """Its folder below `<results>/runs`."""
        return RUN.format(**vars(self))

    @property
    def guided(self) -> bool:
        """Whether it has an AU term."""
        return self.variant != "plain"

    @property
    def plain(self) -> "Run":
        """The run without the AU term."""
        return replace(self, variant="plain")

    @property
    def uncontrolled(self) -> "Run":
        """The run that aligns to the AU map where this one aligns to a control, else this one."""
        return replace(self, variant=_CONTROL.sub("", self.variant))


def run_of(wildcards: Any) -> Run:
    """Return the run whose folder has these wildcards of Snakemake."""
    return Run(wildcards.protocol, wildcards.dataset, wildcards.method, wildcards.variant, int(wildcards.seed))


def variant_name(guidance: Guidance) -> str:
    """Name a guided variant by its lambda, layers and control; equal settings share a name, and so a training."""
    weight = int(guidance.weight) if guidance.weight.is_integer() else guidance.weight
    layers = "+".join(map(str, sorted(set(guidance.layers), reverse=True)))
    return f"au-w{weight!r}-l{layers}{'' if guidance.map == OWN else f'-{guidance.map}'}"


def guidance_of(variant: str) -> dict[str, Any]:
    """Read the settings of the AU term back from the name of a variant."""
    if variant == "plain":
        return {"weight": 0.0, "map": OWN}
    weight, rest = variant.removeprefix("au-w").split("-l", 1)
    layers, _, control = rest.partition("-")
    return {"weight": float(weight), "layers": tuple(map(int, layers.split("+"))), "map": control or OWN}
