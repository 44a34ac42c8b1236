"""Tables, figures and pictures of each experiment, and the files that each is made from."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from workflow.grid import grid
from workflow.run_names import RUN, Run, run_of
from workflow.schema import Config

TABLES = ("baselines", "classification", "faithfulness", "groups", "time")  # of every experiment
FIGURES = {  # of each kind of experiment
    "table1": ("baselines", "faithfulness"),
    "lambda": ("lambda",),
    "table3": ("layers",),
    "controls": ("baselines", "faithfulness"),
}
PICTURES = {  # of a run, or of a guided run beside its plain run: path below the folder of figures
    "maps": "{}.png",
    "panels": "{}/panels.png",
    "gallery": "{}/gallery",
    "matrices": "{}/matrices.png",
    "reliability": "{}/reliability.png",
}
BESIDE = {
    "faithfulness": "faithfulness.json",
    "time": "history.csv",
}  # file that a table or figure reads beside the scores


@dataclass(frozen=True)
class Results:
    """The results of a checked config; `wildcards` are Snakemake's, and every path begins with the config's folder."""

    config: Config

    @property
    def pictures(self) -> str:
        """Pattern of the folder of a run's pictures; its average maps have the same name with a suffix."""
        return self._path("figures", RUN)

    @cached_property
    def tables(self) -> dict[str, tuple[str, str]]:
        """All tables by name: the experiment that each shows, and its kind, see `eval.tables.table`."""
        return {table: (name, kind) for name in self.config.experiments for table, kind in self.tables_of(name).items()}

    def tables_of(self, name: str) -> dict[str, str]:
        """Return the tables of one experiment and the kind of each, without its comparison `<name>-guidance`."""
        kind = self.config.experiments[name].kind
        main = {} if kind == "controls" else {name: kind}
        if kind == "table1":
            main["table2" if name == "table1" else f"{name}-attention"] = "table2"
        return main | {f"{name}-{other}": other for other in TABLES if self._is_measured(other)}

    def figures_of(self, name: str) -> list[str]:
        """List the figures of one experiment."""
        return [figure for figure in FIGURES[self.config.experiments[name].kind] if self._is_measured(figure)]

    def pictures_of(self, name: str) -> Iterator[tuple[str, str]]:
        """Yield kind and path of the pictures of an experiment's runs with the first seed.

        A sweep of lambda or layers has none, as its figure shows it. Controls have average maps only, and only the
        first protocol has a gallery.
        """
        part = self.config.experiments[name]
        runs = [run for run in grid(self.config, name) if run.seed == part.seeds[0]]
        for run in runs if part.kind in ("table1", "controls") else []:
            paired = run.guided and run.plain in runs
            for kind in self._pictures(paired, part.kind, first=run.protocol == runs[0].protocol):
                yield kind, self._path("figures", PICTURES[kind].format(run.folder))

    def of(self, name: str) -> list[str]:
        """List all results of an experiment."""
        return [*self._by_target(name).values(), *(path for _, path in self.pictures_of(name))]

    def everything(self, suffix: str = "") -> list[str]:
        """List the results of all experiments whose name ends with `suffix`."""
        paths = dict.fromkeys(path for name in self.config.experiments for path in self.of(name))
        return [path for path in paths if path.endswith(suffix)]

    def targets(self) -> dict[str, list[str]]:
        """All targets and their files: each experiment, table and figure, and each kind of picture of all runs."""
        names = self.config.experiments
        pictures = [picture for name in names for picture in self.pictures_of(name)]
        kinds = {kind: [path for other, path in pictures if other == kind] for kind in PICTURES}
        single = {target: [path] for name in names for target, path in self._by_target(name).items()}
        return kinds | single | {name: self.of(name) for name in names}

    def compared(self, name: str) -> bool:
        """Whether an experiment holds a guided run and a run to compare it with: the plain run, or a control."""
        runs = set(grid(self.config, name))
        return any(run.guided and not runs.isdisjoint({run.plain, run.uncontrolled} - {run}) for run in runs)

    def files(self, file: str, name: str | None = None) -> list[str]:
        """List one file of every run of an experiment, or of all."""
        return [self._path("runs", f"{run.folder}/{file}") for run in grid(self.config, name)]

    def experiment(self, wildcards: Any) -> str:
        """Return the experiment of a table, a figure or a comparison."""
        return getattr(wildcards, "experiment", None) or self.tables[wildcards.table][0]

    def kind(self, wildcards: Any) -> str:
        """Return the kind of a table."""
        return self.tables[wildcards.table][1]

    def expected_runs(self, wildcards: Any, input: Any) -> str:
        """Write the arguments that name the runs of the config, so that results of another config are refused."""
        return f"--grid {shlex.quote(input.grid)} --experiment {self.experiment(wildcards)}"

    def scores(self, wildcards: Any) -> list[str]:
        """List the scores that a table, a figure or a comparison reads."""
        return self.files("scores.json", self.experiment(wildcards))

    def pictured(self, wildcards: Any) -> list[str]:
        """List the scores that a run's picture reads: matrices of a guided run stand above those of its plain run."""
        run = run_of(wildcards)
        runs = [run, run.plain] if wildcards.figure == "matrices" and run.guided and run.plain in self._runs else [run]
        return [self._path("runs", f"{one.folder}/scores.json") for one in runs]

    def beside(self, wildcards: Any) -> list[str]:
        """List the files that a table or figure reads beside the scores."""
        kind = getattr(wildcards, "figure", None) or self.kind(wildcards)
        return self.files(BESIDE[kind], self.experiment(wildcards)) if kind in BESIDE else []

    @cached_property
    def _runs(self) -> frozenset[Run]:
        return frozenset(grid(self.config))

    def _by_target(self, name: str) -> dict[str, str]:
        """Return the path of each table, of the comparison and of each figure of an experiment, by target."""
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

    def _is_measured(self, kind: str) -> bool:
        return kind != "faithfulness" or self.config.evaluation.faithfulness_images > 0

    def _path(self, part: str, name: str) -> str:
        return f"{self.config.results}/{part}/{name}"
