"""From images to tables and report: `snakemake --cores 8 all`. README.md lists the targets."""

import sys

from snakemake.utils import min_version

min_version("9.20")
sys.path.insert(0, workflow.basedir)

from workflow.run_names import VARIANT
from workflow.grid import overridden
from workflow.lock import hold
from workflow.plan import STAGES, Plan
from workflow.results import Results

# --configfile replaces config.yaml; Snakemake would merge the two.
if not workflow.overwrite_configfiles:

    configfile: "config.yaml"


plan = Plan.parse(config)
results = Results(plan.requested)


# Neither a dry run nor a job of a cluster, which also reads this file, calls onstart.
onstart:
    hold(plan.config.results)
    for line in overridden(plan.requested):
        print(line, file=sys.stderr)


wildcard_constraints:
    dataset="|".join(plan.config.datasets),
    experiment="|".join(plan.config.experiments),
    shard=r"\d+",


include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/measure.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/published.smk"


rule all:
    default_target: True
    input:
        results.everything(),
        plan.stage("status.csv"),
        f"{plan.config.results}/report.html",


# Each experiment, table, figure and kind of picture is a target of its own name.
for name, files in results.targets().items():

    rule:
        name:
            name
        input:
            files,
