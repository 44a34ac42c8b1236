"""The grid of runs of a config, and the card of each run."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from pipeline import plugins
from pipeline.errors import UserError
from train.card.checks import check_model, describe_error, training_card
from train.card.schema import Card, Data, Guidance
from workflow.run_names import Run, guidance_of, variant_name
from workflow.schema import Config, Experiment, Settings

PARTS = ("model", "training", "guidance")  # the sections of settings


def grid(config: Config, experiment: str | None = None) -> list[Run]:
    """List the runs of one experiment, or of all; a run that several experiments share appears once."""
    chosen = [config.experiments[experiment]] if experiment else list(config.experiments.values())
    return list(dict.fromkeys(run for part in chosen for run in _runs(config, part)))


def card(config: Config, run: Run) -> Card:
    """Return the card of a run: all settings that it needs, checked. Raises UserError that names the wrong key."""
    sections = {part: _merged(config, run, part) for part in PARTS}
    sections["model"].setdefault("weights", config.weights)
    sections["guidance"].update(guidance_of(run.variant))
    if "init" in sections["model"]:  # so that a run without AU starts from one without AU
        sections["model"]["init"] = sections["model"]["init"].replace("{variant}", run.variant)
    data = Data(
        folder=config.results / "data" / run.dataset,
        validation_fraction=config.validation.fraction,
        validation_seed=config.validation.seed,
        validation_split=config.validation.split,
        target=config.datasets[run.dataset].target,
        domain=getattr(plugins.load("pipeline.sources", config.datasets[run.dataset].source), "DOMAIN", "photographs"),
    )
    kind = run.variant.partition("-")[0]
    values = {**vars(run), "variant": kind, "data": data, "heatmap": config.heatmap, **sections}
    try:
        checked = Card.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{run.method} on {run.dataset}: {describe_error(error)}") from None
    check_model(checked, key=f"{run.method} on {run.dataset}")
    return checked


def reused_run(config: Config, run: Run) -> Run | None:
    """Return the run whose training also serves this one, or None if this one needs a training of its own.

    The cards of both are equal but for the method and its options.
    """
    own = card(config, run)
    wanted = training_card(own)
    if config.independent or wanted is own:
        return None
    other = replace(run, method=wanted.method)
    try:
        return other if card(config, other) == wanted else None
    except UserError:  # the other method does not take options that a shared level sets for this one
        return None


def _runs(config: Config, part: Experiment) -> Iterator[Run]:
    for protocol in part.protocols or [config.protocol]:
        for dataset in part.datasets:
            for method in part.methods:
                for variant in _variants(config, part, dataset, method):
                    yield from (Run(protocol, dataset, method, variant, seed) for seed in part.seeds)


def _variants(config: Config, part: Experiment, dataset: str, method: str) -> Iterator[str]:
    base = _merged(config, Run(config.protocol, dataset, method, "plain", 0), "guidance")
    try:
        guidance = Guidance.model_validate(base)
    except ValidationError as error:
        raise UserError(f"guidance of {method} on {dataset}: {describe_error(error)}") from None
    if guidance.weight == 0 and ("au" in part.variants or part.layers or part.controls):
        raise UserError(f"guidance.weight of {method} on {dataset} is 0; guided variants need a lambda above it")
    yield from ("plain" if kind == "plain" else variant_name(guidance) for kind in part.variants)
    yield from (variant_name(guidance.model_copy(update={"weight": weight})) for weight in part.weights)
    yield from (variant_name(guidance.model_copy(update={"layers": layers})) for layers in part.layers)
    yield from (variant_name(guidance.model_copy(update={"map": control})) for control in part.controls)


def overridden(config: Config) -> list[str]:
    """List in a line each the dataset's settings that do not apply to a method, because the method has its own."""
    lines: dict[str, None] = {}
    for run in grid(config):
        dataset, method = config.datasets[run.dataset], config.methods.get(run.method)
        both = dataset.methods.get(run.method)
        for part in PARTS:
            of_dataset, of_method, of_both = (_values(level, part) for level in (dataset, method, both))
            for key in of_dataset.keys() & of_method.keys() - of_both.keys():
                if of_dataset[key] != of_method[key]:
                    left = f"datasets.{run.dataset}.{part}.{key}: {of_dataset[key]}"
                    lines[f"{left} is overridden by methods.{run.method}.{part}.{key}: {of_method[key]}"] = None
    return list(lines)


def _merged(config: Config, run: Run, part: str) -> dict[str, Any]:
    """Merge a section of all levels; of two that set a key the more specific one wins."""
    dataset = config.datasets[run.dataset]
    levels = (config, dataset, config.methods.get(run.method), dataset.methods.get(run.method))
    merged: dict[str, Any] = {}
    for level in levels:
        merged |= _values(level, part)
    return merged


def _values(level: Settings | None, part: str) -> dict[str, Any]:
    section = getattr(level, part) if level else None
    return section.model_dump(exclude_unset=True) if section else {}


def describe(config: Config) -> str:
    """Describe all runs as JSON, the content of `grid.json`, for commands that only see results.

    `experiments`: the kind and the run folders of each. `runs`: what each folder below `<results>/runs` holds, with the
    digest of its card; results with another digest belong to an older configuration. `datasets`, and the whole `config`
    with its defaults.
    """
    values = config.model_dump(mode="json", exclude_none=True)
    experiments = {
        name: {"kind": part.kind, "runs": [run.folder for run in grid(config, name)]}
        for name, part in config.experiments.items()
    }
    runs = {run.folder: _describe(config, run) for run in grid(config)}
    content = {"experiments": experiments, "runs": runs, "datasets": values["datasets"], "config": values}
    return json.dumps(content, indent=1) + "\n"


def _describe(config: Config, run: Run) -> dict[str, Any]:
    settings = card(config, run)
    guidance = {"weight": settings.guidance.weight, "layers": settings.guidance.layers, "map": settings.guidance.map}
    return {**vars(run), "variant": settings.variant, **guidance, "card": settings.digest()}
