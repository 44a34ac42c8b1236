# In: the card of a run and the shards of its dataset. Out: its checkpoint and history.


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
        needed=plan.weights_options(),
        folder=plan.config.weights,
    message:
        "Fetch the pretrained weights and check them"
    shell:
        "exec python -m train.weights {params.needed} --out {params.folder:q} > {log:q} 2>&1"


# A run is trained again when its card or its data change. The card is a parameter and not a job of its own: Snakemake
# trains again after any job that writes a card, whether it changed or not. `ancient` because checking the weights again
# must not train again either. No rule declares state/, which holds work in progress, so that a killed training continues.
# The number of GPUs and the interval of saves are resources, as they change no result. `exec`, here and in every rule
# whose command is not piped, makes the command a child of Snakemake, with which it ends.
rule train_run:
    input:
        weights=ancient(plan.weights),
        initial=plan.initial_files,
        shards=plan.prepared,
        reused=plan.reused,
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
        sharing=plan.reuse_option,
    message:
        "Train {wildcards.method} on {wildcards.dataset}: {wildcards.variant}, seed {wildcards.seed} {params.sharing}"
    shell:
        "exec python -m train {params.card:q} {params.sharing} --out {params.folder:q}"
        " --gpus {resources.gpu} --save-minutes {resources.save_minutes} > {log:q} 2>&1"


rule train:
    input:
        results.files("checkpoint.safetensors"),
