"""Read and check config.yaml before anything runs; imports no torch.

python -m workflow.config [FILE]    check a file and list its runs
"""

import argparse
import ast
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from au_guidance.tables import suggestion
from pipeline.errors import UserError, run
from pipeline.plugins import ROOT, check
from train.card.checks import describe_error
from workflow.grid import card, describe, grid, overridden
from workflow.needs import missing
from workflow.results import PICTURES, Results
from workflow.schema import Config, Dataset, keys

# Rules of the workflow; an experiment is a target as well and needs another name.
RESERVED = {
    "all", "average_maps", "compare_maps", "faces", "faces_shard", "faithfulness", "figure", "figures",
    "gallery_pair", "generate", "grid", "guidance", "heatmaps", "heatmaps_shard", "import_published", "index",
    "index_dataset", "landmarks", "landmarks_shard", "means", "panels_pair", "predict", "predict_published",
    "predict_untrained", "published", "report", "report_so_far", "run_figure", "score", "score_published", "status",
    "table", "table_published", "tables", "train", "train_run", "weights", *PICTURES,
}  # fmt: skip


def parse(values: Mapping[str, Any], name: str = "config.yaml") -> Config:
    """Check the content of a config file; raise UserError, one line that names the wrong key and what is possible."""
    try:
        config = Config.model_validate(values)
        _check_names(config)
        for run in grid(config):
            card(config, run)
    except ValidationError as error:
        raise UserError(f"{name}: {describe_error(error)}") from None
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    return config


def read(path: Path) -> Config:
    """Read and check a config file; `-` reads JSON from standard input. Raises UserError as `parse` does."""
    if path == Path("-"):
        return parse(json.loads(sys.stdin.read()), "standard input")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as a text file in UTF-8: {error}") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path} holds no keys")
    return parse(values, str(path))


def _check_names(config: Config) -> None:
    for name, dataset in config.datasets.items():
        check("pipeline.sources", dataset.source, f"datasets.{name}.source")
        check("pipeline.detectors", dataset.detector, f"datasets.{name}.detector")
        check("pipeline.extractors", dataset.extractor, f"datasets.{name}.extractor")
        _check_options("detector", "detect", dataset, f"datasets.{name}.detector_options")
        _check_options("extractor", "extract", dataset, f"datasets.{name}.extractor_options")
        for method in dataset.methods:
            check("train.methods", method, f"datasets.{name}.methods")
    check("au_guidance.codebooks", config.heatmap.codebook, "heatmap.codebook")
    check("au_guidance.geometries", config.heatmap.geometry, "heatmap.geometry")
    for method in config.methods:
        check("train.methods", method, "methods")
    results = Results(config)
    tables = [table for name in config.experiments for table in (*results.tables_of(name), f"{name}-guidance")]
    for name, part in config.experiments.items():
        if name in RESERVED or tables.count(name) > 1:
            raise UserError(f"experiments: {name!r} is the name of another target or table; choose another name")
        for method in part.methods:
            check("train.methods", method, f"experiments.{name}.methods")
        for dataset_name in part.datasets:
            if dataset_name not in config.datasets:
                hint = suggestion(dataset_name, config.datasets)
                raise UserError(f"experiments.{name}.datasets: there is no dataset {dataset_name!r}{hint}")


def _check_options(kind: str, function: str, dataset: Dataset, key: str) -> None:
    """Compare options with the arguments of a plug-in's function, without importing it.

    The options are the arguments with a default; one whose default is None is required.
    """
    name, options = getattr(dataset, kind), getattr(dataset, f"{kind}_options")
    tree = ast.parse((ROOT / "pipeline" / f"{kind}s" / f"{name}.py").read_text(encoding="utf-8"))
    called = next(part for part in tree.body if isinstance(part, ast.FunctionDef) and part.name == function)
    defaults = called.args.defaults
    known = [argument.arg for argument in called.args.args[len(called.args.args) - len(defaults) :]]
    for option in options:
        if option not in known:
            hint = suggestion(option, known) if known else "; it takes none"
            raise UserError(f"{key}: the {kind} {name} has no option {option!r}{hint}")
    for option, default in zip(known, defaults, strict=True):
        if isinstance(default, ast.Constant) and default.value is None and option not in options:
            raise UserError(f"{key}: the {kind} {name} needs the option {option!r}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m workflow.config", description="Check a config file and list its runs, by experiment."
    )
    parser.add_argument(
        "file",
        nargs="?",
        type=Path,
        default=Path("config.yaml"),
        help="config to check; - reads it as JSON from standard input (default: %(default)s)",
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--keys", action="store_true", help="describe every key of a config; no file is read")
    instead.add_argument("--grid", action="store_true", help="print all runs as JSON, the content of grid.json")
    instead.add_argument(
        "--cost", type=Path, metavar="CSV", help="estimate hours and disk from rates that `make bench` has measured"
    )
    return parser


def main() -> None:
    """Run the command line."""
    arguments = _parser().parse_args()
    if arguments.keys:
        print("\n".join(keys()))
        return
    config = read(arguments.file)
    if arguments.grid:
        print(describe(config), end="")
    elif arguments.cost:
        from workflow.cost import estimate  # noqa: PLC0415  (pandas is slow to import)

        print("\n".join(estimate(config, arguments.cost)))
    else:
        _list(config)


def _list(config: Config) -> None:
    """Print the runs of each experiment, which settings others override, and what is not there yet."""
    for name in config.experiments:
        runs = grid(config, name)
        print(f"{name}: {len(runs)} runs", *(f"  {run.folder}" for run in runs), sep="\n")
    for line in overridden(config):
        print(f"note: {line}")
    for line in missing(config):
        print(f"needed: {line}")


if __name__ == "__main__":
    run(main)
