# In: the authors' checkpoints and landmarks, the user's datasets. Out: Tables 1 and 2 of these checkpoints beside the
# paper's numbers, and import.csv with the status of each of the 44 folders.

from workflow import published as authors


wildcard_constraints:
    origin="|".join(authors.ARCHIVES),
    guided="plain|au",


# import.csv lists the checkpoints; the tables leave out those that are missing or damaged.
checkpoint import_published:
    input:
        lambda wildcards: authors.archive_files(plan.config),
    output:
        f"{plan.published}/import.csv",
    log:
        f"{plan.logs}/import_published.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=8000,
    params:
        root=lambda wildcards: authors.settings(plan.config).root,
        folder=subpath(output[0], parent=True),
        data=lambda wildcards: plan.data + authors.PUBLISHED_SUFFIX,
        code=plan.code("eval.published", "train/methods/*.py", "train/backbones/*.py"),
    message:
        "Import the authors' checkpoints"
    shell:
        "python -m eval.published --all {params.root:q} --out {params.folder:q} --data {params.data:q}"
        " --keep-going 2>&1 | tee {log:q}"


use rule predict as predict_published with:
    input:
        f"{plan.published}/import.csv",
        checkpoint=f"{plan.published}/{{origin}}/{{method}}/{{guided}}/checkpoint.safetensors",
        shards=lambda wildcards: plan.shards(
            wildcards.origin + authors.PUBLISHED_SUFFIX, *STAGES
        ),
    output:
        f"{plan.published}/{{origin}}/{{method}}/{{guided}}/predictions.h5",
    log:
        f"{plan.logs}/predict_published/{{origin}}-{{method}}-{{guided}}.log",
    message:
        "Predict with the authors' {wildcards.method} on {wildcards.origin}: {wildcards.guided}"


# No untrained network to compare with, as the authors' initial weights are unknown.
use rule score as score_published with:
    input:
        predictions=f"{plan.published}/{{origin}}/{{method}}/{{guided}}/predictions.h5",
        means=f"{plan.data}/means.npz".replace(
            "{dataset}", f"{{origin}}{authors.PUBLISHED_SUFFIX}"
        ),
    output:
        scores=f"{plan.published}/{{origin}}/{{method}}/{{guided}}/scores.json",
        matrices=multiext(
            f"{plan.published}/{{origin}}/{{method}}/{{guided}}/",
            "confusion.csv",
            "cosines.csv",
            "images.csv",
        ),
    log:
        f"{plan.logs}/score_published/{{origin}}-{{method}}-{{guided}}.log",
    params:
        untrained="",
        code=plan.code("eval.score", "au_guidance/codebooks/paper_code.yaml"),
    message:
        "Score the authors' {wildcards.method} on {wildcards.origin}: {wildcards.guided}"


use rule table as table_published with:
    input:
        scores=lambda wildcards: authors.scores(
            plan.config, checkpoints.import_published.get().output[0]
        ),
    output:
        csv=f"{plan.published}/tables/{{table}}.csv",
        others=multiext(f"{plan.published}/tables/{{table}}", ".md", ".tex"),
    log:
        f"{plan.logs}/table_published/{{table}}.log",
    wildcard_constraints:
        table="table1|table2",
    params:
        kind="{table}",
        expected="",
        out=subpath(output.csv, strip_suffix=".csv"),
        code=plan.code("eval.tables", "eval/tables/paper.csv"),
    message:
        "Write the table {wildcards.table} of the authors' checkpoints"


rule published:
    input:
        expand(f"{plan.published}/tables/{{table}}.csv", table=["table1", "table2"]),
