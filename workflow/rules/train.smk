# In: a run's card and the shards of its dataset. Out: its checkpoint and history.


wildcard_constraints:
    protocol="heldout|paper",
    method=plan.methods(),
    variant=r"plain|au-w[^/]+-l[1-5+]+",
    seed=r"-?\d+",


rule weights:
    output:
        plan.manifest,
    log:
        f"{plan.logs}/weights.log",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        needs=plan.needs(),
        folder=plan.config.weights,
    message:
        "Fetch and check the pretrained weights"
    shell:
        "python -m train.weights {params.needs} --out {params.folder} > {log} 2>&1"


rule card:
    output:
        f"{plan.run}/run.yaml",
    log:
        f"{plan.logs}/card/{{protocol}}-{{dataset}}-{{method}}-{{variant}}-{{seed}}.log",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        card=plan.card,
    message:
        "Write the card of {output}"
    shell:
        "python -m workflow.card {params.card:q} --out {output} > {log} 2>&1"


# A run is trained again when its card or its data change; `ancient` because a card that was only written again, or
# weights that were only checked again, must not do that. Work in progress lies in state/, which no rule declares, so
# that a killed training continues. `exec` lets the trainer see that Snakemake died.
rule train_run:
    input:
        card=ancient(f"{plan.run}/run.yaml"),
        weights=ancient(plan.weights),
        shards=plan.prepared,
    output:
        checkpoint=f"{plan.run}/checkpoint.safetensors",
        history=f"{plan.run}/history.csv",
    log:
        f"{plan.logs}/train/{{protocol}}-{{dataset}}-{{method}}-{{variant}}-{{seed}}.log",
    benchmark:
        f"{plan.logs}/train/{{protocol}}-{{dataset}}-{{method}}-{{variant}}-{{seed}}.tsv"
    conda:
        "../../environment.yml"
    threads: 4
    resources:
        gpu=1,
        mem_mb=16000,
    params:
        card=plan.card,
        folder=lambda wildcards, output: output.checkpoint.removesuffix(
            "/checkpoint.safetensors"
        ),
    message:
        "Train {wildcards.method} on {wildcards.dataset}: {wildcards.variant}, seed {wildcards.seed}"
    shell:
        "exec python -m train {input.card} --out {params.folder} --end-with-parent > {log} 2>&1"


rule train:
    input:
        plan.runs("checkpoint.safetensors"),
