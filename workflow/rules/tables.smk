# In: the scores of the runs. Out: tables and comparisons.


# The command gets the config as JSON, as it may come from several files and from the command line.
rule grid:
    output:
        f"{plan.config.results}/grid.json",
    log:
        f"{plan.logs}/grid.log",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        config=plan.config_json,
        digest=plan.grid_digest(),
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
        csv=f"{plan.config.results}/tables/{{table}}.csv",
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
        expected=results.expected_runs,
        out=subpath(output.csv, strip_suffix=".csv"),
        code=plan.code("eval.tables", "eval/tables/paper.csv"),
    message:
        "Write the table {wildcards.table}"
    shell:
        "exec python -m eval.tables {params.kind} --scores {input.scores:q} {params.expected} --out {params.out:q} > {log:q} 2>&1"


rule guidance:
    input:
        scores=results.scores,
    output:
        csv=f"{plan.config.results}/tables/{{experiment}}-guidance.csv",
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
        code=plan.code("eval.compare"),
    message:
        "Compare the runs of {wildcards.experiment} without and with AU: differences, intervals, p-values"
    shell:
        "exec python -m eval.compare --scores {input.scores:q} --out {params.out:q} > {log:q} 2>&1"


rule tables:
    input:
        results.everything(".csv"),
        plan.stage("status.csv"),
