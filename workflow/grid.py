"""The grid of runs that a config asks for, and the card of each."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, get_args

from pydantic import ValidationError

from pipeline.errors import UserError
from train.card.checks import check_model, explain, training_card
from train.card.schema import Card, Control, Data, Guidance
from workflow.schema import Config, Experiment

RUN = "{protocol}/{dataset}/{method}/{variant}/seed{seed}"  # where a run lies
OWN = "own"  # the map that is no control
VARIANT = rf"plain|au-w[^/]+-l[1-5+]+(?:-(?:{'|'.join(get_args(Control))}))?"  # what `variant` gives
_CONTROLLED = re.compile(rf"-(?:{'|'.join(get_args(Control))})$")


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
        """Where it lies below `<results>/runs`."""
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
        return replace(self, variant=_CONTROLLED.sub("", self.variant))


def grid(config: Config, experiment: str | None = None) -> list[Run]:
    """List the runs of one experiment, or of all; a run that several share appears once."""
    chosen = [config.experiments[experiment]] if experiment else list(config.experiments.values())
    return list(dict.fromkeys(one for part in chosen for one in _runs(config, part)))


def card(config: Config, one: Run) -> Card:
    """Put together all that one run needs."""
    sections = {part: _merged(config, one, part) for part in ("model", "training", "guidance")}
    sections["model"].setdefault("weights", config.weights)
    sections["guidance"].update(_guided(one.variant))
    if "init" in sections["model"]:  # so that a run without AU starts from one without AU
        sections["model"]["init"] = sections["model"]["init"].replace("{variant}", one.variant)
    data = Data(
        folder=config.results / "data" / one.dataset,
        validation_fraction=config.validation.fraction,
        validation_seed=config.validation.seed,
    )
    kind = one.variant.partition("-")[0]
    values = {**vars(one), "variant": kind, "data": data, "heatmap": config.heatmap, **sections}
    try:
        made = Card.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{one.method} on {one.dataset}: {explain(error)}") from None
    check_model(made, key=f"{one.method} on {one.dataset}")
    return made


def shared(config: Config, one: Run) -> Run | None:
    """Name the run whose training serves this one: their cards are equal but for the method and its options."""
    own = card(config, one)
    wanted = training_card(own)
    if config.independent or wanted is own:
        return None
    other = replace(one, method=wanted.method)
    try:
        return other if card(config, other) == wanted else None
    except UserError:  # options for this method at a level that the other one shares
        return None


def variant(guidance: Guidance) -> str:
    """Name a guided variant by its lambda, layers and control; equal settings share a name, and so a training."""
    weight = int(guidance.weight) if guidance.weight.is_integer() else guidance.weight
    layers = "+".join(map(str, sorted(set(guidance.layers), reverse=True)))
    return f"au-w{weight!r}-l{layers}{'' if guidance.map == OWN else f'-{guidance.map}'}"


def _guided(name: str) -> dict[str, Any]:
    if name == "plain":
        return {"weight": 0.0, "map": OWN}
    weight, rest = name.removeprefix("au-w").split("-l", 1)
    layers, _, control = rest.partition("-")
    return {"weight": float(weight), "layers": tuple(map(int, layers.split("+"))), "map": control or OWN}


def _runs(config: Config, part: Experiment) -> Iterator[Run]:
    for protocol in part.protocols or [config.protocol]:
        for dataset in part.datasets:
            for method in part.methods:
                for name in _variants(config, part, dataset, method):
                    yield from (Run(protocol, dataset, method, name, seed) for seed in part.seeds)


def _variants(config: Config, part: Experiment, dataset: str, method: str) -> Iterator[str]:
    base = _merged(config, Run(config.protocol, dataset, method, "plain", 0), "guidance")
    try:
        guidance = Guidance.model_validate(base)
    except ValidationError as error:
        raise UserError(f"guidance of {method} on {dataset}: {explain(error)}") from None
    if guidance.weight == 0 and ("au" in part.variants or part.layers or part.controls):
        raise UserError(f"guidance.weight of {method} on {dataset} is 0; guided variants need a lambda above it")
    yield from ("plain" if name == "plain" else variant(guidance) for name in part.variants)
    yield from (variant(guidance.model_copy(update={"weight": weight})) for weight in part.weights)
    yield from (variant(guidance.model_copy(update={"layers": layers})) for layers in part.layers)
    yield from (variant(guidance.model_copy(update={"map": control})) for control in part.controls)


def _merged(config: Config, one: Run, part: str) -> dict[str, Any]:
    dataset = config.datasets[one.dataset]
    levels = (config, config.methods.get(one.method), dataset, dataset.methods.get(one.method))
    merged: dict[str, Any] = {}
    for section in (getattr(level, part) for level in levels if level):
        merged |= section.model_dump(exclude_unset=True) if section else {}
    return merged


def described(config: Config) -> str:
    """Describe all runs as JSON, for those who only see results: `grid.json`.

    `experiments`: the kind and the run folders of each. `runs`: what each folder below `<results>/runs` holds, with the
    digest of its card; results of another card are of an old configuration. `datasets`, and the whole `config` with
    its defaults.
    """
    values = config.model_dump(mode="json", exclude_none=True)
    experiments = {
        name: {"kind": part.kind, "runs": [one.folder for one in grid(config, name)]}
        for name, part in config.experiments.items()
    }
    runs = {one.folder: _described(config, one) for one in grid(config)}
    content = {"experiments": experiments, "runs": runs, "datasets": values["datasets"], "config": values}
    return json.dumps(content, indent=1) + "\n"


def _described(config: Config, one: Run) -> dict[str, Any]:
    made = card(config, one)
    guidance = {"weight": made.guidance.weight, "layers": made.guidance.layers, "map": made.guidance.map}
    return {**vars(one), "variant": made.variant, **guidance, "card": made.digest()}
