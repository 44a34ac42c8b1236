# In: tables, figures and pictures. Out: report.html, of all runs or of those that are done.


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
        code=plan.code(
            "eval.report",
            "eval/report/page/*",
            "eval/tables/paper.csv",
            "pipeline/sources/*.py",
        ),
    message:
        "Write the report {output}"
    shell:
        "exec python -m eval.report --grid {input.grid:q} --results {params.folder:q} --out {output:q} > {log:q} 2>&1"


# Needs no run and declares no output, so that it runs whenever it is requested.
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
        "Write the report of the finished runs {params.out}"
    shell:
        "exec python -m eval.report --grid {input.grid:q} --results {params.folder:q} --out {params.out:q} > {log:q} 2>&1"
