"""The pipeline: a grid's studies → runs → probes → tables → figures → report.

    snakemake --cores N                                    the default grid
    snakemake --cores N --config grid=smoke                another: a name under experiments/grids/ or a path
    snakemake --cores 1 speed                              the benchmark, which nothing else asks for

Snakemake does not see imported modules. So a cell's inputs are the files of its algorithm and of algorithms/core/, its
parameter is everything that the grid says about it, and the grid file itself is not an input.

`snakemake --lint` asks for a conda environment or container per rule. There is one environment for all of it, described
by pyproject.toml, and Snakemake runs in that same environment.
"""

import json
import os
from functools import cache
from glob import glob

from snakemake.exceptions import WorkflowError

from analysis.sections import FIGURES, TABLES, TITLES
from experiments.grid import MISTAKES, load_grid
from experiments.pipeline import go_on, words_for_failures
from experiments.process import SNAKEMAKE
from experiments.search import BEST

unknown = sorted(set(config) - {"grid"})
if unknown:
    raise WorkflowError(f"--config takes grid=NAME or grid=FILE.yaml, not {unknown[0]}=…")
try:
    GRID = load_grid(str(config.get("grid", "default")))
except MISTAKES as error:
    raise WorkflowError(str(error))

RESULTS = f"results/{GRID.name}"
os.environ[SNAKEMAKE] = str(os.getpid())  # jobs end with it
CELLS = {cell.directory: cell for cell in GRID.cells()}
RUNS = expand(f"{RESULTS}/{{directory}}/{{file}}", directory=CELLS, file=["run.json", "episodes.csv", "updates.csv"])
STUDIES = {study.directory: study for study in GRID.studies()}
STUDY_FILES = [BEST, "study.json", "trials.csv", "parts.csv"]
TUNED = expand(f"{RESULTS}/{{directory}}/{{file}}", directory=STUDIES, file=STUDY_FILES)
PROBES = {probe.directory: probe for probe in GRID.probes}
MEASURED = expand(f"{RESULTS}/{{directory}}/{{file}}", directory=PROBES, file=["probe.json", "grams.npz"])
CORE = sorted(glob("algorithms/core/*.py"))
TUNER = expand("experiments/{module}.py", module=["tune", "search"])
LABORATORY = expand("experiments/{module}.py", module=["probe", "gradients", "exact"])
REPORT = expand(f"{RESULTS}/report/{{file}}", file=["index.html", "report.md", "summary.json", "files.json"])
BENCHMARK = sorted(glob(f"{RESULTS}/speed/*.*"))  # what is there: no rule makes it, so it goes stale by no edit
ANALYSIS = sorted(file for file in glob("analysis/**/*.*", recursive=True) if "__pycache__" not in file)

# What an executor like Slurm's asks for. Measured on the default grid: the slowest cell makes 2,600 environment steps a
# second, the slowest study 6,900 (its slowest trial 1,800), a probe takes a minute at most; memory is 490 MB in a cell,
# 840 MB in a probe, and 380 MB in Snakemake's own processes on the node. A cluster's processors may be slower.
STEPS_PER_MINUTE = {"cell": 60 * 1_000, "study": 60 * 2_000}
MINUTES_BESIDE = 5  # start-up, compiling for the first time, evaluation
PROBE_MINUTES = 20
ANALYSIS_MINUTES = 30
MEMORY_MB = 2_000

TO_LOG = " > {log:q} 2>&1 || (cat {log:q} >&2; exit 1)"  # what is refused is said in the log and on the terminal


@cache
def look_back():
    """When Snakemake looks at what there is to do: a Snakemake that was killed is nothing in its way."""
    go_on(workflow, RESULTS)


def cell_of(wildcards):
    """The cell whose run lies in runs/{task}/{algorithm}/{seed}."""
    return CELLS[f"runs/{wildcards.task}/{wildcards.algorithm}/{wildcards.seed}"]


def algorithm_files(wildcards):
    """The files of the cell's algorithm and of the algorithms it inherits from."""
    look_back()
    return GRID.algorithms[wildcards.algorithm].files


def nothing(wildcards):
    """No input; asked for when Snakemake looks at what there is to do."""
    look_back()
    return []


def task_id(wildcards):
    """The Gymnasium id, which may differ from its folder's name."""
    return cell_of(wildcards).task


def directory_of_output(wildcards, output):
    """The folder of a cell's or a probe's files."""
    return os.path.dirname(output[0])


def what_determines_the_run(wildcards):
    """Everything that the grid says about a cell, as text: when it changes, the cell runs again."""
    return GRID.what_determines(cell_of(wildcards))


def best_settings(wildcards):
    """What the cell's study has found, if it has one."""
    tuned = cell_of(wildcards).tuned
    return [f"{RESULTS}/{tuned}/{BEST}"] if tuned else []


def tuned_option(wildcards, input):
    """Where a cell takes tuned settings from, as it is said on the command line."""
    return f"--tuned {input.tuned}" if input.tuned else ""


def what_determines_the_study(wildcards):
    """Everything that the grid says about a study, as text: when it changes, the study goes on or is refused."""
    study = STUDIES["tuning/{algorithm}/{group}".format(**wildcards)]
    return json.dumps(GRID.what_determines_study(study) | study.description(), sort_keys=True)


def probe_of(wildcards):
    """The probe that lies in probes/{task}/{source}/{seed}/{fraction}."""
    return PROBES["probes/{task}/{source}/{seed}/{fraction}".format(**wildcards)]


def probe_inputs(wildcards):
    """The run whose checkpoint is measured, and every file that says how: all algorithms are."""
    look_back()
    probe = probe_of(wildcards)
    run = [] if probe.exact else [f"{RESULTS}/{GRID.cell(probe.source, probe.task, probe.seed).directory}/run.json"]
    return run + sorted({file for algorithm in GRID.algorithms.values() for file in algorithm.files})


def probe_options(wildcards):
    """What of a probe is said on the command line."""
    probe = probe_of(wildcards)
    options = f"--task {probe.task} --seed {probe.seed}"
    if probe.exact:
        return options
    run = GRID.cell(probe.source, probe.task, probe.seed).directory
    return f"{options} --fraction {probe.fraction:g} --run {RESULTS}/{run}"


def what_determines_the_probe(wildcards):
    """Everything that the grid says about a probe, as text: when it changes, it is measured again."""
    return GRID.what_determines_probe(probe_of(wildcards))


def minutes_of_run(wildcards, attempt):
    """The time limit of a cell; each further attempt gets as much again."""
    return attempt * (MINUTES_BESIDE + cell_of(wildcards).steps // STEPS_PER_MINUTE["cell"])


def minutes_of_study(wildcards, threads, attempt):
    """The time limit of a study of which nothing is pruned; each further attempt gets as much again."""
    study = STUDIES["tuning/{algorithm}/{group}".format(**wildcards)]
    trials_of_a_worker = -(-study.tuning.trials // threads)
    trainings = trials_of_a_worker * len(study.tuning.seeds) + 2 * len(study.tuning.fresh_seeds)
    return attempt * (MINUTES_BESIDE + trainings * sum(study.tasks.values()) // STEPS_PER_MINUTE["study"])


def minutes_of_probe(wildcards, attempt):
    """The time limit of a probe; each further attempt gets as much again."""
    return attempt * PROBE_MINUTES


def minutes_of_analysis(wildcards, attempt):
    """The time limit of tables, figures or report; each further attempt gets as much again."""
    return attempt * ANALYSIS_MINUTES


def memory(wildcards, threads, attempt):
    """Megabytes; each further attempt gets as much again."""
    return attempt * threads * MEMORY_MB


onerror:
    print(words_for_failures([file for job in workflow.scheduler.failed for file in job.log], RESULTS, GRID.path))


onstart:
    # A cell that fails must not stop the others. That is --keep-going, which Snakemake takes from the command line or
    # from a profile, and it finds a profile by itself only at the top level; so it is said here for every run.
    workflow.scheduler.keepgoing = True
    # With a limit on jobs a second Snakemake 9.27 looks for work again a second after every look, and each job that ends
    # adds another such chain: in the end hundreds of looks a second. Its default limit holds nothing back here; that of
    # a user, for the queue of a cluster say, stays.
    limiter = workflow.scheduler.job_rate_limiter
    if limiter and (limiter.max_jobs, limiter.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None


localrules:
    manifest,


rule reproduce:
    """The report and everything in it: a run, say, that somebody removed is done again although the report is there."""
    input:
        REPORT,
        TUNED,
        RUNS,
        MEASURED,
    default_target: True


rule partial_report:
    """The report of the runs that are there; its ledger says which are missing or have failed."""
    input:
        f"{RESULTS}/grid.json",
    log:
        f"{RESULTS}/logs/partial_report.log",
    shell:
        f"(python -m analysis.tables --results {RESULTS} && python -m analysis.figures --results {RESULTS}"
        f" && python -m analysis.report --results {RESULTS}){TO_LOG}"


rule speed:
    """The benchmark, its table and its figure. Without outputs: it is run when asked for, and only then."""
    input:
        f"{RESULTS}/grid.json",
    log:
        f"{RESULTS}/logs/speed.log",
    threads: workflow.cores  # nothing may run beside it
    shell:
        f"(status=0; python -m experiments.speed --output {RESULTS}/speed || status=$?;"
        f" python -m analysis.benchmark --results {RESULTS} && python -m analysis.figures --results {RESULTS}"
        " --figure benchmark && exit $status) 2>&1 | tee {log:q}"


rule manifest:
    """The grid, resolved, as the analysis reads it."""
    input:
        nothing,
    output:
        f"{RESULTS}/grid.json",
    params:
        grid=GRID.path,
        content=json.dumps(GRID.manifest(), sort_keys=True),
    priority: 2  # analysis.status reads it
    log:
        f"{RESULTS}/logs/manifest.log",
    shell:
        "python -m experiments.grid --grid {params.grid:q} --output {output:q} > {log:q} 2>&1"


rule tune:
    """One algorithm on one group of tasks. The study's journal is no output: Snakemake would remove it before a rerun."""
    input:
        algorithm_files,
        CORE,
        TUNER,
    output:
        # update: a study that is refused keeps what it has found
        update(expand(f"{RESULTS}/tuning/{{{{algorithm}}}}/{{{{group}}}}/{{file}}", file=STUDY_FILES)),
    params:
        grid=GRID.path,
        determines=what_determines_the_study,
        directory=directory_of_output,
    resources:
        runtime=minutes_of_study,
        mem_mb=memory,
    threads: GRID.tuning.workers if GRID.tuning else 1
    priority: 1  # others wait for it
    log:
        f"{RESULTS}/logs/tuning/{{algorithm}}/{{group}}.log",
    shell:
        "python -m experiments.tune --grid {params.grid:q} --algorithm {wildcards.algorithm:q} --group {wildcards.group:q}"
        f" --output {{params.directory:q}}{TO_LOG}"


rule train:
    """One cell, with tuned settings where the grid says so."""
    input:
        algorithm_files,
        CORE,
        tuned=best_settings,
    output:
        f"{RESULTS}/runs/{{task}}/{{algorithm}}/{{seed}}/run.json",
        f"{RESULTS}/runs/{{task}}/{{algorithm}}/{{seed}}/episodes.csv",
        f"{RESULTS}/runs/{{task}}/{{algorithm}}/{{seed}}/updates.csv",
    params:
        grid=GRID.path,
        task=task_id,
        determines=what_determines_the_run,
        directory=directory_of_output,
        tuned=tuned_option,
    resources:
        runtime=minutes_of_run,
        mem_mb=memory,
    log:
        f"{RESULTS}/logs/runs/{{task}}/{{algorithm}}/{{seed}}.log",
    shell:
        "python -m experiments.run --grid {params.grid:q} --algorithm {wildcards.algorithm:q} --task {params.task:q}"
        " --seed {wildcards.seed} {params.tuned} --output {params.directory:q} > {log:q} 2>&1"


rule probe:
    """Gradient estimates of every algorithm at one frozen policy."""
    input:
        probe_inputs,
        CORE,
        LABORATORY,
    output:
        f"{RESULTS}/probes/{{task}}/{{source}}/{{seed}}/{{fraction}}/probe.json",
        f"{RESULTS}/probes/{{task}}/{{source}}/{{seed}}/{{fraction}}/grams.npz",
    params:
        grid=GRID.path,
        options=probe_options,
        determines=what_determines_the_probe,
        directory=directory_of_output,
    resources:
        runtime=minutes_of_probe,
        mem_mb=memory,
    log:
        f"{RESULTS}/logs/probes/{{task}}/{{source}}/{{seed}}/{{fraction}}.log",
    shell:
        "python -m experiments.probe --grid {params.grid:q} {params.options} --output {params.directory:q} > {log:q} 2>&1"


rule tables:
    """All runs → tidy tables."""
    input:
        f"{RESULTS}/grid.json",
        TUNED,
        RUNS,
        MEASURED,
        BENCHMARK,
        ANALYSIS,
    output:
        expand(f"{RESULTS}/tables/{{table}}.csv", table=TABLES),
    resources:
        runtime=minutes_of_analysis,
        mem_mb=memory,
    log:
        f"{RESULTS}/logs/tables.log",
    shell:
        f"python -m analysis.tables --results {RESULTS}{TO_LOG}"


rule figures:
    """Tables → figures, which also stand in Snakemake's own report (snakemake --report)."""
    input:
        f"{RESULTS}/grid.json",
        expand(f"{RESULTS}/tables/{{table}}.csv", table=TABLES),
        ANALYSIS,
    output:
        [
            report(f"{RESULTS}/figures/{figure}.svg", caption=f"analysis/sections/{section}/captions/{figure}.rst", category=TITLES[section])
            for figure, (section, _) in FIGURES.items()
        ],
        expand(f"{RESULTS}/figures/{{figure}}.png", figure=FIGURES),
    resources:
        runtime=minutes_of_analysis,
        mem_mb=memory,
    log:
        f"{RESULTS}/logs/figures.log",
    shell:
        f"python -m analysis.figures --results {RESULTS}{TO_LOG}"


rule report:
    """Tables and figures → one page, the same in short for a code host, and the results for machines."""
    input:
        f"{RESULTS}/grid.json",
        expand(f"{RESULTS}/tables/{{table}}.csv", table=TABLES),
        expand(f"{RESULTS}/figures/{{figure}}.svg", figure=FIGURES),
        BENCHMARK,
        ANALYSIS,
    output:
        REPORT,
    resources:
        runtime=minutes_of_analysis,
        mem_mb=memory,
    log:
        f"{RESULTS}/logs/report.log",
    shell:
        f"python -m analysis.report --results {RESULTS}{TO_LOG}"
