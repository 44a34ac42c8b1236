# In: scores and predictions of the runs. Out: figures of experiments and pictures of runs.


rule figure:
    input:
        scores=results.scores,
        beside=results.beside,
    output:
        png=f"{plan.config.results}/figures/{{experiment}}/{{figure}}.png",
        others=multiext(
            f"{plan.config.results}/figures/{{experiment}}/{{figure}}", ".pdf", ".csv"
        ),
    log:
        f"{plan.logs}/figure/{{experiment}}-{{figure}}.log",
    wildcard_constraints:
        figure="lambda|layers|baselines|faithfulness",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        out=subpath(output.png, strip_suffix=".png"),
        code=plan.code("eval.figures", "eval/tables/paper.csv"),
    message:
        "Draw the figure {wildcards.figure} of {wildcards.experiment}"
    shell:
        "exec python -m eval.figures {wildcards.figure} --scores {input.scores:q} --out {params.out:q} > {log:q} 2>&1"


rule run_figure:
    input:
        results.pictured,
    output:
        png=f"{results.pictures}/{{figure}}.png",
        others=multiext(f"{results.pictures}/{{figure}}", ".pdf", ".csv"),
    log:
        f"{plan.logs}/run_figure/{{figure}}-{{protocol}}-{{dataset}}-{{method}}-{{variant}}-{{seed}}.log",
    wildcard_constraints:
        figure="matrices|reliability",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        out=subpath(output.png, strip_suffix=".png"),
        code=plan.code("eval.figures"),
    message:
        "Draw {wildcards.figure} of {wildcards.method} on {wildcards.dataset}: {wildcards.variant}, seed {wildcards.seed}"
    shell:
        "exec python -m eval.figures {wildcards.figure} --scores {input:q} --out {params.out:q} > {log:q} 2>&1"


rule panels_pair:
    input:
        plain=f"{plan.run}/predictions.h5".replace("{variant}", "plain"),
        guided=f"{plan.run}/predictions.h5",
    output:
        png=f"{results.pictures}/panels.png",
        others=multiext(f"{results.pictures}/panels", ".pdf", ".csv"),
    log:
        f"{plan.logs}/panels_pair/{{protocol}}-{{dataset}}-{{method}}-{{variant}}-{{seed}}.log",
    conda:
        "../../environment.yml"
    params:
        out=subpath(output.png, strip_suffix=".png"),
        seed=plan.config.evaluation.seed,
        code=plan.code("eval.figures"),
    message:
        "Draw panels of {wildcards.method} on {wildcards.dataset} without and with AU: {wildcards.variant}, seed {wildcards.seed}"
    shell:
        "exec python -m eval.figures panels {input.plain:q} {input.guided:q} --seed {params.seed} --out {params.out:q}"
        " > {log:q} 2>&1"


rule gallery_pair:
    input:
        plain=f"{plan.run}/predictions.h5".replace("{variant}", "plain"),
        guided=f"{plan.run}/predictions.h5",
    output:
        directory(f"{results.pictures}/gallery"),
    log:
        f"{plan.logs}/gallery_pair/{{protocol}}-{{dataset}}-{{method}}-{{variant}}-{{seed}}.log",
    conda:
        "../../environment.yml"
    params:
        faces=plan.config.evaluation.gallery_faces,
        seed=plan.config.evaluation.seed,
        code=plan.code("eval.figures.gallery"),
    message:
        "Draw the gallery of {wildcards.method} on {wildcards.dataset} without and with AU: {wildcards.variant}, seed {wildcards.seed}"
    shell:
        "exec python -m eval.figures.gallery {input.plain:q} {input.guided:q} --faces {params.faces} --seed {params.seed}"
        " --out {output:q} > {log:q} 2>&1"


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
        code=plan.code("eval.figures.maps", "au_guidance/codebooks/{codebook}.yaml"),
    message:
        "Average the maps of {wildcards.method} on {wildcards.dataset}: {wildcards.variant}, seed {wildcards.seed}"
    shell:
        "exec python -m eval.figures.maps {input:q} --out {params.out:q} > {log:q} 2>&1"


rule compare_maps:
    input:
        plain=f"{plan.run}/average_maps.npz".replace("{variant}", "plain"),
        guided=f"{plan.run}/average_maps.npz",
    output:
        png=f"{results.pictures}.png",
        others=multiext(results.pictures, ".pdf", ".csv"),
    log:
        f"{plan.logs}/compare_maps/{{protocol}}-{{dataset}}-{{method}}-{{variant}}-{{seed}}.log",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        out=subpath(output.png, strip_suffix=".png"),
        code=plan.code("eval.figures.maps"),
    message:
        "Draw the average maps of {wildcards.method} on {wildcards.dataset} without and with AU: {wildcards.variant}, seed {wildcards.seed}"
    shell:
        "exec python -m eval.figures.maps compare {input.plain:q} {input.guided:q} --out {params.out:q} > {log:q} 2>&1"


rule figures:
    input:
        results.everything(".png"),
