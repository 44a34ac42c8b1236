# In: checkpoints. Out: predictions, scores, tables and average maps.


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
            "eval/predict.py",
            "eval/predictions.py",
            "train/losses.py",
            "eval/metrics.py",
            "train/method.py",
            "train/methods/{method}.py",
            "train/methods/cam.py",
            "train/methods/gradcam.py",
            "train/peaks.py",
        ),
    message:
        "Predict the test faces of {wildcards.dataset}: {wildcards.method}, {wildcards.variant}, seed {wildcards.seed}"
    shell:
        "python -m eval.predict {input.checkpoint:q} --out {output:q} > {log:q} 2>&1"


rule score:
    input:
        f"{plan.run}/predictions.h5",
    output:
        scores=f"{plan.run}/scores.json",
        matrices=multiext(f"{plan.run}/", "confusion.csv", "cosines.csv"),
    log:
        f"{plan.logs}/score/{{protocol}}-{{dataset}}-{{method}}-{{variant}}-{{seed}}.log",
    conda:
        "../../environment.yml"
    params:
        code=plan.code(
            "pipeline/codebooks/{codebook}.yaml",
            "eval/score.py",
            "eval/metrics.py",
            "eval/predictions.py",
            "train/losses.py",
        ),
    message:
        "Score {wildcards.method} on {wildcards.dataset}: {wildcards.variant}, seed {wildcards.seed}"
    shell:
        "python -m eval.score {input:q} --out {output.scores:q} > {log:q} 2>&1"


rule average_maps:
    input:
        f"{plan.run}/predictions.h5",
    output:
        npz=f"{plan.run}/average_maps.npz",
        png=f"{plan.run}/average_maps.png",
    log:
        f"{plan.logs}/average_maps/{{protocol}}-{{dataset}}-{{method}}-{{variant}}-{{seed}}.log",
    conda:
        "../../environment.yml"
    params:
        out=subpath(output.npz, strip_suffix=".npz"),
        code=plan.code(
            "pipeline/codebooks/{codebook}.yaml",
            "eval/maps.py",
            "eval/pictures.py",
            "eval/metrics.py",
            "eval/predictions.py",
            "train/losses.py",
        ),
    message:
        "Average the maps of {wildcards.method} on {wildcards.dataset}: {wildcards.variant}, seed {wildcards.seed}"
    shell:
        "python -m eval.maps {input:q} --out {params.out:q} > {log:q} 2>&1"


rule compare_maps:
    input:
        plain=f"{plan.run}/average_maps.npz".replace("{variant}", "plain"),
        guided=f"{plan.run}/average_maps.npz",
    output:
        f"{plan.config.results}/figures/{{protocol}}/{{dataset}}/{{method}}/{{variant}}/seed{{seed}}.png",
    log:
        f"{plan.logs}/compare_maps/{{protocol}}-{{dataset}}-{{method}}-{{variant}}-{{seed}}.log",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        out=subpath(output[0], strip_suffix=".png"),
        code=plan.code(
            "eval/maps.py",
            "eval/pictures.py",
            "eval/metrics.py",
            "eval/predictions.py",
            "train/losses.py",
        ),
    message:
        "Draw the average maps of {wildcards.method} on {wildcards.dataset} without and with AU, seed {wildcards.seed}"
    shell:
        "python -m eval.maps compare {input.plain:q} {input.guided:q} --out {params.out:q} > {log:q} 2>&1"


rule table:
    input:
        plan.scores,
    output:
        multiext(f"{plan.config.results}/tables/{{table}}", ".csv", ".md", ".tex"),
    log:
        f"{plan.logs}/table/{{table}}.log",
    wildcard_constraints:
        table="|".join(plan.tables()),
    localrule: True
    conda:
        "../../environment.yml"
    params:
        kind=plan.kind,
        out=subpath(output[0], strip_suffix=".csv"),
        code=plan.code("eval/table.py", "eval/layout.py", "eval/paper.csv"),
    message:
        "Write {wildcards.table}"
    shell:
        "python -m eval.table {params.kind} --scores {input:q} --out {params.out:q} > {log:q} 2>&1"


rule guidance:
    input:
        lambda wildcards: plan.runs("predictions.h5", wildcards.experiment),
    output:
        multiext(f"{plan.config.results}/tables/{{experiment}}-guidance", ".csv", ".md"),
    log:
        f"{plan.logs}/guidance/{{experiment}}.log",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        out=subpath(output[0], strip_suffix=".csv"),
        code=plan.code(
            "pipeline/codebooks/{codebook}.yaml",
            "eval/compare.py",
            "eval/statistics.py",
            "eval/score.py",
            "eval/metrics.py",
            "eval/predictions.py",
            "train/losses.py",
        ),
    message:
        "Compare the runs of {wildcards.experiment} without and with AU, with intervals"
    shell:
        "python -m eval.compare --predictions {input:q} --out {params.out:q} > {log:q} 2>&1"


rule tables:
    input:
        plan.everything(".csv"),


for experiment in plan.config.experiments:

    rule:
        name:
            experiment
        input:
            plan.results(experiment),
