"""The grid of runs that a config asks for, the card of each and the tables that show them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from pipeline.errors import UserError
from train.config import Card, Data, Guidance, check_model, explain, training_card
from workflow.schema import Config, Experiment


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
        return f"{self.protocol}/{self.dataset}/{self.method}/{self.variant}/seed{self.seed}"


def grid(config: Config, experiment: str | None = None) -> list[Run]:
    """List the runs of one experiment, or of all; a run that several share appears once."""
    chosen = [config.experiments[experiment]] if experiment else list(config.experiments.values())
    return list(dict.fromkeys(one for part in chosen for one in _runs(config, part)))


def card(config: Config, one: Run) -> Card:
    """Put together all that one run needs."""
    sections = {part: _merged(config, one, part) for part in ("model", "training", "guidance")}
    sections["model"].setdefault("weights", config.weights)
    sections["guidance"].update(_guided(one.variant))
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
    """Name a guided variant by its lambda and layers; equal settings share a name, and so a training."""
    weight = int(guidance.weight) if guidance.weight.is_integer() else guidance.weight
    return f"au-w{weight!r}-l{'+'.join(map(str, sorted(set(guidance.layers), reverse=True)))}"


def _guided(name: str) -> dict[str, Any]:
    if name == "plain":
        return {"weight": 0.0}
    weight, layers = name.removeprefix("au-w").split("-l")
    return {"weight": float(weight), "layers": tuple(map(int, layers.split("+")))}


def _runs(config: Config, part: Experiment) -> Iterator[Run]:
    for dataset in part.datasets:
        for method in part.methods:
            for name in _variants(config, part, dataset, method):
                for seed in part.seeds:
                    yield Run(part.protocol or config.protocol, dataset, method, name, seed)


def _variants(config: Config, part: Experiment, dataset: str, method: str) -> Iterator[str]:
    base = _merged(config, Run(config.protocol, dataset, method, "plain", 0), "guidance")
    try:
        guidance = Guidance.model_validate(base)
    except ValidationError as error:
        raise UserError(f"guidance of {method} on {dataset}: {explain(error)}") from None
    if "au" in part.variants and guidance.weight == 0:
        raise UserError(f"guidance.weight of {method} on {dataset} is 0; the variant au needs a lambda above it")
    yield from ("plain" if name == "plain" else variant(guidance) for name in part.variants)
    yield from (variant(guidance.model_copy(update={"weight": weight})) for weight in part.weights)
    yield from (variant(guidance.model_copy(update={"layers": layers})) for layers in part.layers)


def _merged(config: Config, one: Run, part: str) -> dict[str, Any]:
    dataset = config.datasets[one.dataset]
    levels = (config, config.methods.get(one.method), dataset, dataset.methods.get(one.method))
    merged: dict[str, Any] = {}
    for section in (getattr(level, part) for level in levels if level):
        merged |= section.model_dump(exclude_unset=True) if section else {}
    return merged


def tables(config: Config) -> dict[str, tuple[str, str]]:
    """Name all tables: the experiment that each shows, and which kind of `eval.table` it is."""
    return {table: (name, kind) for name in config.experiments for table, kind in tables_of(config, name).items()}


def tables_of(config: Config, name: str) -> dict[str, str]:
    """Name the tables of one experiment and the kind of each."""
    experiment = config.experiments[name]
    if experiment.weights or experiment.layers:
        return {name: "sweep"}
    return {name: "table1", "table2" if name == "table1" else f"{name}-attention": "table2"}
