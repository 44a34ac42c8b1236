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
    params:
        code=plan.code("eval/predict.py"),
    threads: 4
    resources:
        gpu=1,
        mem_mb=16000,
    message:
        "Predict the test faces of {wildcards.dataset}: {wildcards.method}, {wildcards.variant}, seed {wildcards.seed}"
    shell:
        "python -m eval.predict {input.checkpoint} --out {output} > {log} 2>&1"


rule score:
    input:
        f"{plan.run}/predictions.h5",
    output:
        f"{plan.run}/scores.json",
    log:
        f"{plan.logs}/score/{{protocol}}-{{dataset}}-{{method}}-{{variant}}-{{seed}}.log",
    conda:
        "../../environment.yml"
    params:
        code=plan.code("eval/score.py", "eval/metrics.py"),
    message:
        "Score {wildcards.method} on {wildcards.dataset}: {wildcards.variant}, seed {wildcards.seed}"
    shell:
        "python -m eval.score {input} --out {output} > {log} 2>&1"
