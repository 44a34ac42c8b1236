"""What the experiments of a config show: their tables, figures and pictures, and the files that each is made from."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from workflow.grid import RUN, grid
from workflow.schema import Config

TABLES = ("baselines", "classification", "faithfulness", "groups", "time")  # of every experiment
FIGURES = {  # of each kind of experiment
    "table1": ("baselines", "faithfulness"),
    "lambda": ("lambda",),
    "table3": ("layers",),
    "controls": ("baselines", "faithfulness"),
}
PICTURES = {  # of a run or of a guided run beside its plain one: where each lies in the folder of figures
    "maps": "{}.png",
    "panels": "{}/panels.png",
    "gallery": "{}/gallery",
    "matrices": "{}/matrices.png",
    "reliability": "{}/reliability.png",
}
BESIDE = {"faithfulness": "faithfulness.json", "time": "history.csv"}  # what a table or figure reads beside scores


@dataclass(frozen=True)
class Results:
    """The results of a checked config; `wildcards` are Snakemake's, every path begins with the config's folder."""

    config: Config

    @property
    def pictures(self) -> str:
        """Pattern of the folder of a run's pictures; with a suffix, of its average maps."""
        return self._path("figures", RUN)

    @cached_property
    def tables(self) -> dict[str, tuple[str, str]]:
        """Name all tables: the experiment that each shows, and which kind of `eval.tables.table` it is."""
        return {table: (name, kind) for name in self.config.experiments for table, kind in self.tables_of(name).items()}

    def tables_of(self, name: str) -> dict[str, str]:
        """Name the tables of one experiment and the kind of each; its comparison `<name>-guidance` is none of them."""
        kind = self.config.experiments[name].kind
        own = {} if kind == "controls" else {name: kind}
        if kind == "table1":
            own["table2" if name == "table1" else f"{name}-attention"] = "table2"
        return own | {f"{name}-{other}": other for other in TABLES if self._wanted(other)}

    def figures_of(self, name: str) -> list[str]:
        """Name the figures of one experiment."""
        return [figure for figure in FIGURES[self.config.experiments[name].kind] if self._wanted(figure)]

    def pictures_of(self, name: str) -> Iterator[tuple[str, str]]:
        """Yield the kind and path of the pictures of an experiment's runs, of the first seed.

        A sweep of lambda or layers has none: its figure shows it. Controls have only their average maps, and the
        gallery is of the first protocol.
        """
        part = self.config.experiments[name]
        runs = [one for one in grid(self.config, name) if one.seed == part.seeds[0]]
        for one in runs if part.kind in ("table1", "controls") else []:
            paired = one.guided and one.plain in runs
            for kind in self._pictures(paired, part.kind, first=one.protocol == runs[0].protocol):
                yield kind, self._path("figures", PICTURES[kind].format(one.folder))

    def of(self, name: str) -> list[str]:
        """List all results of an experiment."""
        return [*self._alone(name).values(), *(path for _, path in self.pictures_of(name))]

    def everything(self, suffix: str = "") -> list[str]:
        """List the results of all experiments, or those whose name ends with `suffix`."""
        found = dict.fromkeys(path for name in self.config.experiments for path in self.of(name))
        return [path for path in found if path.endswith(suffix)]

    def targets(self) -> dict[str, list[str]]:
        """Name what a person may ask for: each experiment, table and figure, and each kind of picture of all runs."""
        names = self.config.experiments
        pictures = [picture for name in names for picture in self.pictures_of(name)]
        kinds = {kind: [path for other, path in pictures if other == kind] for kind in PICTURES}
        alone = {target: [path] for name in names for target, path in self._alone(name).items()}
        return kinds | alone | {name: self.of(name) for name in names}

    def compared(self, name: str) -> bool:
        """Say whether an experiment holds a guided run and what to compare it with: the plain run, or a control."""
        runs = set(grid(self.config, name))
        return any(one.guided and not runs.isdisjoint({one.plain, one.uncontrolled} - {one}) for one in runs)

    def files(self, file: str, name: str | None = None) -> list[str]:
        """List one file of every run of an experiment, or of all."""
        return [self._path("runs", f"{one.folder}/{file}") for one in grid(self.config, name)]

    def experiment(self, wildcards: Any) -> str:
        """Look up the experiment of a table, a figure or a comparison."""
        return getattr(wildcards, "experiment", None) or self.tables[wildcards.table][0]

    def kind(self, wildcards: Any) -> str:
        """Look up which kind a table is."""
        return self.tables[wildcards.table][1]

    def expected(self, wildcards: Any, input: Any) -> str:
        """Write the arguments that say which runs there should be, so that results of an old config are refused."""
        return f"--grid {shlex.quote(input.grid)} --experiment {self.experiment(wildcards)}"

    def scores(self, wildcards: Any) -> list[str]:
        """List the scores that a table, a figure or a comparison gathers."""
        return self.files("scores.json", self.experiment(wildcards))

    def beside(self, wildcards: Any) -> list[str]:
        """List what a table or figure reads beside the scores."""
        kind = getattr(wildcards, "figure", None) or self.kind(wildcards)
        return self.files(BESIDE[kind], self.experiment(wildcards)) if kind in BESIDE else []

    def _alone(self, name: str) -> dict[str, str]:
        """Name the tables, the comparison and the figures of an experiment, with the path of each."""
        tables = [*self.tables_of(name), *([f"{name}-guidance"] if self.compared(name) else [])]
        figures = {f"{name}-{kind}-figure": f"{name}/{kind}.png" for kind in self.figures_of(name)}
        return {table: self._path("tables", f"{table}.csv") for table in tables} | {
            target: self._path("figures", path) for target, path in figures.items()
        }

    def _pictures(self, paired: bool, kind: str, *, first: bool) -> list[str]:
        if kind == "controls":
            return ["maps"] * paired
        gallery = paired and first and self.config.evaluation.gallery_faces > 0
        return ["matrices", "reliability", *(["maps", "panels"] * paired), *(["gallery"] * gallery)]

    def _wanted(self, kind: str) -> bool:
        return kind != "faithfulness" or self.config.evaluation.faithfulness_images > 0

    def _path(self, part: str, name: str) -> str:
        return f"{self.config.results}/{part}/{name}"
