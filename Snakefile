"""Images in, tables out: `snakemake --cores 8 all`. See README.md for the targets."""

import sys

from snakemake.utils import min_version

min_version("9.20")
sys.path.insert(0, workflow.basedir)

from workflow.plan import STAGES, Plan

# --configfile would merge into this one; it is to replace it.
if not workflow.overwrite_configfiles:

    configfile: "config.yaml"


plan = Plan.parse(config)


wildcard_constraints:
    dataset="|".join(plan.config.datasets),
    experiment="|".join(plan.config.experiments),
    shard=r"\d+",


include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/eval.smk"
include: "workflow/rules/published.smk"


rule all:
    default_target: True
    input:
        plan.everything(),
