# In: a run's card and the shards of its dataset. Out: its checkpoint and history.


wildcard_constraints:
    protocol="heldout|paper",
    method=plan.methods(),
    variant=VARIANT,
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
        "exec python -m train.weights {params.needs} --out {params.folder:q} > {log:q} 2>&1"


# A run is trained again when its card or its data change. The card counts through `params` and is no job of its own:
# Snakemake would train again after any job that writes it, changed or not. `ancient` because weights that were only
# checked again must not do that either. Work in progress lies in state/, which no rule declares, so that a killed
# training continues. On how many GPUs and how often it is saved are resources, as they change no result. `exec`, here and in
# all rules of one command, lets the command see that Snakemake died, and end.
rule train_run:
    input:
        weights=ancient(plan.weights),
        given=plan.given,
        shards=plan.prepared,
        shared=plan.shared,
    output:
        card=f"{plan.run}/run.yaml",
        checkpoint=f"{plan.run}/checkpoint.safetensors",
        last=f"{plan.run}/last.safetensors",
        history=f"{plan.run}/history.csv",
    log:
        f"{plan.logs}/train/{{protocol}}-{{dataset}}-{{method}}-{{variant}}-{{seed}}.log",
    benchmark:
        f"{plan.logs}/train/{{protocol}}-{{dataset}}-{{method}}-{{variant}}-{{seed}}.tsv"
    conda:
        "../../environment.yml"
    threads: 4
    resources:
        gpu=plan.training_gpus,
        mem_mb=16000,
        save_minutes=plan.config.save_minutes,
    params:
        card=plan.card,
        codebook=plan.codebook,
        folder=subpath(output.card, parent=True),
        sharing=plan.sharing,
    message:
        "Train {wildcards.method} on {wildcards.dataset}: {wildcards.variant}, seed {wildcards.seed} {params.sharing}"
    shell:
        "exec python -m train {params.card:q} {params.sharing} --out {params.folder:q}"
        " --gpus {resources.gpu} --save-minutes {resources.save_minutes} > {log:q} 2>&1"


rule train:
    input:
        results.files("checkpoint.safetensors"),
