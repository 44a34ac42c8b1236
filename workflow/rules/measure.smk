# In: checkpoints and the shards of their dataset. Out: predictions, scores and faithfulness of each run.


rule predict:
    input:
        checkpoint=f"{plan.run}/checkpoint.safetensors",
        shards=plan.prepared,
    output:
        f"{plan.run}/predictions.h5",
    log:
        f"{plan.logs}/predict/{{protocol}}-{{dataset}}-{{method}}-{{variant}}-{{seed}}.log",
    conda:
        "../../environment.yml"
    threads: 4
    resources:
        gpu=1,
        mem_mb=16000,
    params:
        code=plan.code(
            "eval.predict", "train/methods/{method}.py", "train/backbones/*.py"
        ),
    message:
        "Predict with {wildcards.method} on {wildcards.dataset}: {wildcards.variant}, seed {wildcards.seed}"
    shell:
        "exec python -m eval.predict {input.checkpoint:q} --out {output:q} > {log:q} 2>&1"


# The card is an input and not a parameter: a killed call may have left predictions of another card, which are older than
# the card that the training writes.
rule predict_untrained:
    input:
        card=f"{plan.run}/run.yaml",
        shards=plan.prepared,
    output:
        temp(f"{plan.run}/untrained.h5"),
    log:
        f"{plan.logs}/predict_untrained/{{protocol}}-{{dataset}}-{{method}}-{{variant}}-{{seed}}.log",
    conda:
        "../../environment.yml"
    threads: 4
    resources:
        gpu=1,
        mem_mb=16000,
    message:
        "Predict with an untrained {wildcards.method} on {wildcards.dataset}: {wildcards.variant}, seed {wildcards.seed}"
    shell:
        "exec python -m eval.predict {input.card:q} --untrained --out {output:q} > {log:q} 2>&1"


rule means:
    input:
        plan.prepared,
    output:
        f"{plan.data}/means.npz",
    log:
        f"{plan.logs}/means/{{dataset}}.log",
    conda:
        "../../environment.yml"
    params:
        folder=subpath(output[0], parent=True),
        drawing=plan.drawing_options,
        code=plan.code(
            "eval.metrics.training_means", "au_guidance/codebooks/{codebook}.yaml"
        ),
    message:
        "Average the AU maps of the training set of {wildcards.dataset}"
    shell:
        "exec python -m eval.metrics.training_means {params.folder:q} {params.drawing} --out {output:q} > {log:q} 2>&1"


rule score:
    input:
        predictions=f"{plan.run}/predictions.h5",
        untrained=f"{plan.run}/untrained.h5",
        means=f"{plan.data}/means.npz",
    output:
        scores=f"{plan.run}/scores.json",
        matrices=multiext(f"{plan.run}/", "confusion.csv", "cosines.csv", "images.csv"),
    log:
        f"{plan.logs}/score/{{protocol}}-{{dataset}}-{{method}}-{{variant}}-{{seed}}.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=8000,
    params:
        untrained=plan.untrained_option,
        code=plan.code("eval.score", "au_guidance/codebooks/{codebook}.yaml"),
    message:
        "Score {wildcards.method} on {wildcards.dataset}: {wildcards.variant}, seed {wildcards.seed}"
    shell:
        "exec python -m eval.score {input.predictions:q} --means {input.means:q} {params.untrained} --out {output.scores:q}"
        " > {log:q} 2>&1"


rule faithfulness:
    input:
        checkpoint=f"{plan.run}/checkpoint.safetensors",
        shards=plan.prepared,
    output:
        json=f"{plan.run}/faithfulness.json",
        curves=f"{plan.run}/faithfulness.csv",
    log:
        f"{plan.logs}/faithfulness/{{protocol}}-{{dataset}}-{{method}}-{{variant}}-{{seed}}.log",
    conda:
        "../../environment.yml"
    threads: 4
    resources:
        gpu=1,
        mem_mb=16000,
    params:
        images=plan.config.evaluation.faithfulness_images,
        seed=plan.config.evaluation.seed,
        code=plan.code(
            "eval.faithfulness",
            "au_guidance/codebooks/{codebook}.yaml",
            "train/methods/{method}.py",
            "train/backbones/*.py",
        ),
    message:
        "Measure faithfulness of {wildcards.method} on {wildcards.dataset} (deletion, insertion, ROAD): {wildcards.variant}, seed {wildcards.seed}"
    shell:
        "exec python -m eval.faithfulness {input.checkpoint:q} --images {params.images} --seed {params.seed} --out {output.json:q}"
        " > {log:q} 2>&1"
