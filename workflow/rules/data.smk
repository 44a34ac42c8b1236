# In: a dataset in its official layout. Out: index.csv, and per shard aligned faces, landmarks and AU shapes. Two tables
# are also printed, as the user should see them: the counts beside the official ones, and the status of the images.


rule generate:
    output:
        directory(f"{plan.config.results}/generated/{{dataset}}"),
    log:
        f"{plan.logs}/generate/{{dataset}}.log",
    conda:
        "../../environment.yml"
    threads: 8
    params:
        options=plan.generate_options,
        code=plan.code("pipeline.synthetic"),
    message:
        "Generate the drawn faces of {wildcards.dataset}"
    shell:
        "exec python -m pipeline.synthetic --out {output:q} {params.options} --workers {threads} > {log:q} 2>&1"


rule index_dataset:
    input:
        plan.generated,
    output:
        f"{plan.data}/index.csv",
    log:
        f"{plan.logs}/index/{{dataset}}.log",
    conda:
        "../../environment.yml"
    params:
        root=plan.root,
        source=plan.setting("source"),
        shards=plan.setting("shards"),
        code=plan.code("pipeline.index", "pipeline/sources/{source}.py"),
    message:
        "List the images of {wildcards.dataset}"
    shell:
        "python -m pipeline.index --dataset {wildcards.dataset} --source {params.source} --root {params.root:q}"
        " --shards {params.shards} --out {output:q} 2>&1 | tee {log:q}"


rule faces_shard:
    input:
        index=f"{plan.data}/index.csv",
    output:
        f"{plan.data}/faces/{{shard}}.h5",
    log:
        f"{plan.logs}/faces/{{dataset}}-{{shard}}.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=2000,
    params:
        root=plan.root,
        detector=plan.setting("detector"),
        options=plan.detector_options,
        size=plan.setting("crop"),
        quality=plan.setting("quality"),
        mode=plan.setting("alignment"),
        limit=plan.setting("max_megapixels"),
        source=plan.setting("source"),
        code=plan.code(
            "pipeline.align",
            "pipeline/detectors/{detector}.py",
            "pipeline/sources/{source}.py",
        ),
    message:
        "Align the faces of {wildcards.dataset}, shard {wildcards.shard}"
    shell:
        "exec python -m pipeline.align {input.index:q} --root {params.root:q} --shard {wildcards.shard} --out {output:q}"
        " --detector {params.detector} {params.options} --size {params.size} --quality {params.quality} --mode {params.mode}"
        " --max-megapixels {params.limit} --source {params.source}"
        " > {log:q} 2>&1"


rule landmarks_shard:
    input:
        faces=f"{plan.data}/faces/{{shard}}.h5",
        weights=ancient(plan.extractor_weights),
    output:
        f"{plan.data}/landmarks/{{shard}}.h5",
    log:
        f"{plan.logs}/landmarks/{{dataset}}-{{shard}}.log",
    conda:
        "../../environment.yml"
    resources:
        gpu=plan.extractor_gpus,
        mem_mb=4000,
    params:
        extractor=plan.setting("extractor"),
        options=plan.extractor_options,
        code=plan.code("pipeline.landmarks", "pipeline/extractors/{extractor}.py"),
    message:
        "Find the landmarks of {wildcards.dataset}, shard {wildcards.shard}"
    shell:
        "exec python -m pipeline.landmarks {input.faces:q} --out {output:q} --extractor {params.extractor} {params.options}"
        " > {log:q} 2>&1"


rule heatmaps_shard:
    input:
        f"{plan.data}/landmarks/{{shard}}.h5",
    output:
        f"{plan.data}/heatmaps/{{shard}}.h5",
    log:
        f"{plan.logs}/heatmaps/{{dataset}}-{{shard}}.log",
    conda:
        "../../environment.yml"
    params:
        geometry=plan.geometry,
        code=plan.code("pipeline.heatmaps", "au_guidance/geometries/{geometry}.yaml"),
    message:
        "Place the AU shapes of {wildcards.dataset}, shard {wildcards.shard}"
    shell:
        "exec python -m pipeline.heatmaps {input:q} --out {output:q} --geometry {params.geometry} > {log:q} 2>&1"


rule status:
    input:
        lambda wildcards: plan.shards(wildcards.dataset, "faces", "landmarks"),
    output:
        csv=f"{plan.data}/status.csv",
        md=f"{plan.data}/status.md",
        faces=f"{plan.data}/faces.csv",
    log:
        f"{plan.logs}/status/{{dataset}}.log",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        folder=subpath(output.csv, parent=True),
        source=plan.setting("source"),
        code=plan.code("pipeline.status", "pipeline/sources/{source}.py"),
    message:
        "Count the images of {wildcards.dataset} by status"
    shell:
        "python -m pipeline.status {params.folder:q} --out {params.folder:q}/status --source {params.source}"
        " 2>&1 | tee {log:q}"


rule index:
    input:
        plan.stage("index.csv"),


rule faces:
    input:
        plan.stage("faces"),


rule landmarks:
    input:
        plan.stage("landmarks"),
        plan.stage("status.csv"),


rule heatmaps:
    input:
        plan.stage("heatmaps"),
