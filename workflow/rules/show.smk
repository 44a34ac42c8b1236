# In: what was measured of each run. Out: tables, comparisons, figures, pictures of faces, and the report with all of them.

LABELS = {
    "protocol": "{protocol}",
    "dataset": "{dataset}",
    "method": "{method}",
    "variant": "{variant}",
    "seed": "{seed}",
}


# The config reaches the command as JSON: it may come from several files and from the command line.
rule grid:
    output:
        f"{plan.config.results}/grid.json",
    log:
        f"{plan.logs}/grid.log",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        config=plan.described,
        digest=plan.digest(),
    message:
        "List the runs of the config"
    shell:
        "printf '%s' {params.config:q} | python -m workflow.config - --grid > {output:q} 2> {log:q}"


rule table:
    input:
        scores=results.scores,
        beside=results.beside,
        grid=f"{plan.config.results}/grid.json",
    output:
        csv=report(
            f"{plan.config.results}/tables/{{table}}.csv",
            caption="../report/table.rst",
            category="Tables",
            labels={"table": "{table}"},
        ),
        others=multiext(f"{plan.config.results}/tables/{{table}}", ".md", ".tex"),
    log:
        f"{plan.logs}/table/{{table}}.log",
    wildcard_constraints:
        table="|".join(results.tables),
    localrule: True
    conda:
        "../../environment.yml"
    params:
        kind=results.kind,
        expected=results.expected,
        out=subpath(output.csv, strip_suffix=".csv"),
        code=plan.code("eval/tables/table.py", "eval/tables/paper.csv"),
    message:
        "Write {wildcards.table}"
    shell:
        "exec python -m eval.tables {params.kind} --scores {input.scores:q} {params.expected} --out {params.out:q} > {log:q} 2>&1"


rule guidance:
    input:
        scores=results.scores,
    output:
        csv=report(
            f"{plan.config.results}/tables/{{experiment}}-guidance.csv",
            caption="../report/guidance.rst",
            category="Tables",
            labels={"table": "{experiment}-guidance"},
        ),
        others=multiext(
            f"{plan.config.results}/tables/{{experiment}}-guidance", ".md", ".tex"
        ),
    log:
        f"{plan.logs}/guidance/{{experiment}}.log",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        out=subpath(output.csv, strip_suffix=".csv"),
        code=plan.code("eval/compare/compare.py"),
    message:
        "Compare the runs of {wildcards.experiment} without and with AU, with intervals"
    shell:
        "exec python -m eval.compare --scores {input.scores:q} --out {params.out:q} > {log:q} 2>&1"


rule figure:
    input:
        scores=results.scores,
        beside=results.beside,
    output:
        png=report(
            f"{plan.config.results}/figures/{{experiment}}/{{figure}}.png",
            caption="../report/figure.rst",
            category="Figures",
            labels={"experiment": "{experiment}", "figure": "{figure}"},
        ),
        others=multiext(
            f"{plan.config.results}/figures/{{experiment}}/{{figure}}", ".pdf", ".csv"
        ),
    log:
        f"{plan.logs}/figure/{{experiment}}-{{figure}}.log",
    wildcard_constraints:
        figure="lambda|layers|floors|faithfulness",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        out=subpath(output.png, strip_suffix=".png"),
        code=plan.code("eval/figures/__main__.py", "eval/tables/paper.csv"),
    message:
        "Draw the figure {wildcards.figure} of {wildcards.experiment}"
    shell:
        "exec python -m eval.figures {wildcards.figure} --scores {input.scores:q} --out {params.out:q} > {log:q} 2>&1"


rule run_figure:
    input:
        f"{plan.run}/scores.json",
    output:
        png=report(
            f"{results.pictures}/{{figure}}.png",
            caption="../report/run_figure.rst",
            category="Single runs",
            subcategory="{figure}",
            labels=LABELS,
        ),
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
        code=plan.code("eval/figures/__main__.py"),
    message:
        "Draw {wildcards.figure} of {wildcards.method} on {wildcards.dataset}: {wildcards.variant}, seed {wildcards.seed}"
    shell:
        "exec python -m eval.figures {wildcards.figure} --scores {input:q} --out {params.out:q} > {log:q} 2>&1"


rule panels_pair:
    input:
        plain=f"{plan.run}/predictions.h5".replace("{variant}", "plain"),
        guided=f"{plan.run}/predictions.h5",
    output:
        png=report(
            f"{results.pictures}/panels.png",
            caption="../report/panels.rst",
            category="Single runs",
            subcategory="panels",
            labels=LABELS,
        ),
        others=multiext(f"{results.pictures}/panels", ".pdf", ".csv"),
    log:
        f"{plan.logs}/panels_pair/{{protocol}}-{{dataset}}-{{method}}-{{variant}}-{{seed}}.log",
    conda:
        "../../environment.yml"
    params:
        out=subpath(output.png, strip_suffix=".png"),
        seed=plan.config.evaluation.seed,
        code=plan.code("eval/figures/__main__.py"),
    message:
        "Draw maps of {wildcards.method} over faces of {wildcards.dataset} without and with AU, seed {wildcards.seed}"
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
        code=plan.code("eval/figures/gallery.py"),
    message:
        "Draw faces of {wildcards.dataset} for the gallery: {wildcards.method}, {wildcards.variant}"
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
        code=plan.code(
            "au_guidance/codebooks/{codebook}.yaml",
            "eval/figures/maps.py",
            "au_guidance/loss.py",
        ),
    message:
        "Average the maps of {wildcards.method} on {wildcards.dataset}: {wildcards.variant}, seed {wildcards.seed}"
    shell:
        "exec python -m eval.figures.maps {input:q} --out {params.out:q} > {log:q} 2>&1"


rule compare_maps:
    input:
        plain=f"{plan.run}/average_maps.npz".replace("{variant}", "plain"),
        guided=f"{plan.run}/average_maps.npz",
    output:
        png=report(
            f"{results.pictures}.png",
            caption="../report/maps.rst",
            category="Single runs",
            subcategory="average maps",
            labels=LABELS,
        ),
        others=multiext(results.pictures, ".pdf", ".csv"),
    log:
        f"{plan.logs}/compare_maps/{{protocol}}-{{dataset}}-{{method}}-{{variant}}-{{seed}}.log",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        out=subpath(output.png, strip_suffix=".png"),
        code=plan.code("eval/figures/maps.py"),
    message:
        "Draw the average maps of {wildcards.method} on {wildcards.dataset} without and with AU, seed {wildcards.seed}"
    shell:
        "exec python -m eval.figures.maps compare {input.plain:q} {input.guided:q} --out {params.out:q} > {log:q} 2>&1"


rule report:
    input:
        results.everything(),
        plan.stage("status.csv"),
        grid=f"{plan.config.results}/grid.json",
    output:
        f"{plan.config.results}/report.html",
    log:
        f"{plan.logs}/report.log",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        folder=plan.config.results,
        code=plan.code("eval/report/*.py", "eval/report/page/*"),
    message:
        "Write the report, {output}"
    shell:
        "exec python -m eval.report --grid {input.grid:q} --results {params.folder:q} --out {output:q} > {log:q} 2>&1"


# Needs no run, and has no output that Snakemake knows of: it reports what there is whenever it is asked for.
rule report_so_far:
    input:
        grid=f"{plan.config.results}/grid.json",
    log:
        f"{plan.logs}/report_so_far.log",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        folder=plan.config.results,
        out=f"{plan.config.results}/report-so-far.html",
    message:
        "Write the report of what is done, {params.out}"
    shell:
        "exec python -m eval.report --grid {input.grid:q} --results {params.folder:q} --out {params.out:q} > {log:q} 2>&1"


rule tables:
    input:
        results.everything(".csv"),
        plan.stage("status.csv"),


rule figures:
    input:
        results.everything(".png"),


for name, files in results.targets().items():

    rule:
        name:
            name
        input:
            files,
