"""The pipeline: a grid's studies → runs → probes → tables → figures → report.

    snakemake --cores N                                    the default grid
    snakemake --cores N --config grid=smoke                another: a name under experiments/grids/ or a path
    snakemake --cores N --config only=Hopper-v5,0,1        a part of it: these runs, and the report of what is there
    snakemake --cores 1 speed --config tasks=Hopper-v5     the benchmark, which no other rule needs

experiments/determinants.py says on what the result of a job depends: on source files and on values. They are the
parameter `determines` of the job's rule, files by their digest; one of the files is an input. The grid file itself is not an input.

`snakemake --lint` asks for a conda environment or container per rule. But all use the one that Snakemake itself runs in.
"""

import json
import os
from functools import partial
from glob import glob

from snakemake.exceptions import WorkflowError

from analysis.sections import FIGURE_KINDS, FIGURES, TABLES, TITLES, SectionError, check_faces
from analysis.status import in_short
from experiments.command import MISTAKES
from experiments.grid import load_grid
from experiments.jobs import Jobs, directory_of_output, memory, minutes_of_analysis, stage_files, tuned_option
from experiments.parts import part_of
from experiments.pipeline import check_config, fork_jobs, go_on, in_project, keep_going, make_the_rest
from experiments.pipeline import speed_options, stages, words_for_failures
from experiments.process import SNAKEMAKE
from experiments.schema import FINISHED, MADE_OF, PROBE_FILES, REPORT_FILES, RUN_FILES, STUDY_FILES, VIDEO_RECORD
from experiments.terminal import speak

try:
    check_faces()
    check_config(config)
    GRID = load_grid(str(config.get("grid", "default")))
    PART = part_of(GRID, str(config["only"])) if "only" in config else None
except (*MISTAKES, SectionError) as error:
    raise WorkflowError(str(error))

RESULTS = in_project(workflow, f"results/{GRID.name}")
os.environ[SNAKEMAKE] = str(os.getpid())  # tells jobs on which process they depend: they end when it ends


# Before Snakemake decides what to do, it removes what a killed Snakemake has left in the way of this one.
JOBS = Jobs(GRID, RESULTS, at_first=partial(go_on, workflow))
speak(workflow, JOBS, in_short)  # on the terminal: scores, and in the end where the page is
RUNS = expand(f"{RESULTS}/{{directory}}/{{file}}", directory=JOBS.cells, file=RUN_FILES)
TUNED = expand(f"{RESULTS}/{{directory}}/{{file}}", directory=JOBS.studies, file=STUDY_FILES)
TUNED += expand(f"{RESULTS}/{{directory}}{FINISHED}", directory=JOBS.studies)
MEASURED = expand(f"{RESULTS}/{{directory}}/{{file}}", directory=JOBS.probes, file=PROBE_FILES)
RECORDED = expand(f"{RESULTS}/{{directory}}/{VIDEO_RECORD}", directory=JOBS.video_folders())
BENCHMARK = sorted(glob(f"{RESULTS}/speed/*.*"))  # the files that exist; as no rule makes them, no edit outdates them
TABLE_FILES = expand(f"{RESULTS}/tables/{{table}}.csv", table=TABLES)
FIGURE_FILES = expand(f"{RESULTS}/figures/{{figure}}.{{kind}}", figure=FIGURES, kind=FIGURE_KINDS)
REPORT = expand(f"{RESULTS}/report/{{file}}", file=[*REPORT_FILES, MADE_OF])

TO_LOG = " > {log:q} 2>&1 || (cat {log:q} >&2; exit 1)"  # an error is written to the log and to the terminal


onerror:
    make_the_rest(RESULTS)
    print(words_for_failures([file for job in workflow.scheduler.failed for file in job.log], RESULTS, GRID.path))


onstart:
    keep_going(workflow)
    fork_jobs(workflow)


localrules: manifest


rule reproduce:
    """The report and everything in it. A run or table that was removed is made again even if the report exists."""
    input:
        [f"{RESULTS}/grid.json", *REPORT, *TABLE_FILES, *FIGURE_FILES],
        TUNED + RUNS + MEASURED + RECORDED,
    default_target: PART is None


rule partial_report:
    """The report of the runs that have finished, after those of a part. Its ledger says which are missing or have failed."""
    input:
        f"{RESULTS}/grid.json",
        expand(f"{RESULTS}/{{directory}}/run.json", directory=PART or []),
    default_target: PART is not None
    log: f"{RESULTS}/logs/partial_report.log"
    shell:
        f"({stages(RESULTS)}){TO_LOG}"


rule speed:
    """The benchmark, its table and its figure. The rule has no outputs, so it runs only when a user asks for it."""
    input:
        f"{RESULTS}/grid.json",
    log: f"{RESULTS}/logs/speed.log"
    threads: workflow.cores  # so that no other job runs at the same time
    shell:
        f"(status=0; python -m experiments.speed --output {RESULTS}/speed {speed_options(config)} || status=$?;"
        f" python -m analysis.benchmark --results {RESULTS} && python -m analysis.figures --results {RESULTS}"
        " --figure benchmark && exit $status) 2>&1 | tee {log:q}"


rule manifest:
    """The grid with all defaults filled in, as the analysis reads it."""
    input:
        JOBS.nothing,
    output:
        f"{RESULTS}/grid.json",
    params:
        grid=GRID.path,
        content=json.dumps(GRID.manifest(), sort_keys=True),
    priority: 2  # analysis.status needs this file while jobs run
    log: f"{RESULTS}/logs/manifest.log"
    shell:
        "python -m experiments.grid --grid {params.grid:q} --output {output:q} > {log:q} 2>&1"


rule tune:
    """One study: one algorithm on one group of tasks. Its journal is no output, or a rerun would begin without it."""
    input:
        JOBS.sources,
    output:
        # A study that ends with an error keeps its files, which look new then; but it is not taken for finished.
        update(expand(f"{RESULTS}/tuning/{{{{algorithm}}}}/{{{{group}}}}/{{file}}", file=STUDY_FILES)),
        touch(f"{RESULTS}/tuning/{{algorithm}}/{{group}}{FINISHED}"),
    params:
        grid=GRID.path,
        determines=JOBS.parameter,
        directory=directory_of_output,
    resources: runtime=JOBS.minutes, mem_mb=memory
    threads: GRID.tuning.workers if GRID.tuning else 1
    priority: 1  # other jobs wait for studies
    log: f"{RESULTS}/logs/tuning/{{algorithm}}/{{group}}.log"
    shell:
        "python -m experiments.forked tune --grid {params.grid:q} --algorithm {wildcards.algorithm:q} --group {wildcards.group:q}"
        f" --output {{params.directory:q}}{TO_LOG}"


rule train:
    """One run: one algorithm on one task with one seed, with tuned settings where the grid says so."""
    input:
        JOBS.sources,
        JOBS.finished_study,
        tuned=JOBS.best_settings,
    output:
        expand(f"{RESULTS}/runs/{{{{task}}}}/{{{{algorithm}}}}/{{{{seed}}}}/{{file}}", file=RUN_FILES),
    params:
        grid=GRID.path,
        task=JOBS.task,
        determines=JOBS.parameter,
        study=JOBS.parameter_of_study,
        directory=directory_of_output,
        tuned=tuned_option,
    resources: runtime=JOBS.minutes, mem_mb=memory
    log: f"{RESULTS}/logs/runs/{{task}}/{{algorithm}}/{{seed}}.log"
    shell:
        "python -m experiments.forked run --grid {params.grid:q} --algorithm {wildcards.algorithm:q} --task {params.task:q}"
        " --seed {wildcards.seed} {params.tuned} --output {params.directory:q} > {log:q} 2>&1"


rule probe:
    """One probe: gradient estimates at one policy that is not trained further."""
    input:
        JOBS.sources,
        JOBS.probed_run,
    output:
        expand(f"{RESULTS}/probes/{{{{task}}}}/{{{{source}}}}/{{{{seed}}}}/{{{{fraction}}}}/{{file}}", file=PROBE_FILES),
    params:
        grid=GRID.path,
        command=JOBS.probe_command,
        options=JOBS.probe_options,
        determines=JOBS.parameter,
        directory=directory_of_output,
    resources: runtime=JOBS.minutes, mem_mb=memory
    log: f"{RESULTS}/logs/probes/{{task}}/{{source}}/{{seed}}/{{fraction}}.log"
    shell:
        "python -m experiments.forked {params.command} --grid {params.grid:q} {params.options} --output {params.directory:q}"
        " > {log:q} 2>&1"


rule video:
    """The policies of the best and of the median seed of an algorithm on a task, for the page; nothing depends on them."""
    input:
        ["experiments/videos.py", "experiments/watch.py"],
        JOBS.recorded_runs,
    output:
        f"{RESULTS}/videos/{{task}}/{{algorithm}}/{VIDEO_RECORD}",
    params:
        runs=JOBS.recorded_folders,
        directory=directory_of_output,
    resources: runtime=minutes_of_analysis, mem_mb=memory
    log: f"{RESULTS}/logs/videos/{{task}}/{{algorithm}}.log"
    shell:
        f"python -m experiments.videos --runs {{params.runs:q}} --output {{params.directory:q}}{TO_LOG}"


rule tables:
    """All runs, studies and probes → tables."""
    input:
        f"{RESULTS}/grid.json",
        TUNED,
        RUNS,
        MEASURED,
        BENCHMARK,
        stage_files("tables"),
    output:
        TABLE_FILES,
    resources: runtime=minutes_of_analysis, mem_mb=memory
    log: f"{RESULTS}/logs/tables.log"
    shell:
        f"python -m analysis.tables --results {RESULTS}{TO_LOG}"


rule figures:
    """Tables → figures, which Snakemake's own report (snakemake --report) contains, too."""
    input:
        f"{RESULTS}/grid.json",
        TABLE_FILES,
        stage_files("figures"),
    output:
        [
            report(
                f"{RESULTS}/figures/{figure}.svg",
                caption=f"analysis/sections/{section}/captions/{figure}.rst",
                category=TITLES[section],
            )
            for figure, (section, _) in FIGURES.items()
        ],
        expand(f"{RESULTS}/figures/{{figure}}.{{kind}}", figure=FIGURES, kind=FIGURE_KINDS[1:]),
    resources: runtime=minutes_of_analysis, mem_mb=memory
    log: f"{RESULTS}/logs/figures.log"
    shell:
        f"python -m analysis.figures --results {RESULTS}{TO_LOG}"


rule report:
    """Tables and figures → the page, a shorter version of it in Markdown, and the results as JSON."""
    input:
        f"{RESULTS}/grid.json",
        TABLE_FILES,
        FIGURE_FILES,
        BENCHMARK + RECORDED,
        stage_files("report"),
    output:
        REPORT,
    resources: runtime=minutes_of_analysis, mem_mb=memory
    log: f"{RESULTS}/logs/report.log"
    shell:
        f"python -m analysis.report --results {RESULTS}{TO_LOG}"
