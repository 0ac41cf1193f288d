"""What the files of a results folder are called and hold.

`experiments` writes them and `analysis` reads them. Each name stands here once, and this module imports nothing. No
number of a run, a study or a probe depends on it.
"""

SCHEMA = 3  # of grid.json, run.json, probe.json, benchmark.json, best.json and study.json
NO_DIGEST = "0" * 64  # stands in place of a record's own SHA-256 while that is computed

# ------------------------------------------------------------------------------------ runs

RUN_FILES = ("run.json", "episodes.csv", "updates.csv")  # run.json is written last
EVALUATIONS_FILE = "evaluations.csv"  # of a run that was evaluated in the middle of its training
EVALUATION_COLUMNS = ("step", "kind", "return", "length")  # a row per episode; step: of the training
TENSORBOARD = "tensorboard"  # the folder of a run's event files, where it has any
TRAINED = "trained.npz"  # in a run's folder until it is complete: what was trained until now
POLICY = "policy.npz"  # the last policy; absent where a run diverged, and in runs of earlier versions
CHECKPOINTS = "checkpoints"  # the folder of a run's learners
STOPPED = "stopped by its task"  # the state of a run whose task gave a number that is not finite
RUN_STATES = ("done", "diverged", STOPPED)  # `status` in run.json
EVALUATIONS = ("sampled", "mode")  # keys of `evaluation` in run.json
PERTURBED = "perturbed"  # of run.json: the returns of the policy under changes of the task, where a grid asks for it
EXTERNAL = "external"  # of grid.json's algorithms and run.json, where a run was made elsewhere; it has no "mode"
EPISODE_COLUMNS = ("step", "return", "length", "start")
TRUE_RETURN = "true_return"  # a further column of episodes.csv, and key of open episodes, where the task reports it
DIAGNOSTICS = (
    "policy_loss",
    "value_loss",
    "entropy",
    "approx_kl",
    "clip_fraction",
    "explained_variance",
    "policy_gradient_norm",
    "value_gradient_norm",
    "advantage_mean",
    "advantage_std",
    "learning_rate",
)
UPDATE_COLUMNS = ("step", "updates", *DIAGNOSTICS)  # of updates.csv; an algorithm's further diagnostics follow them
SENT = ("rounds", "megabytes_sent")  # further columns of updates.csv, where workers send something: of an update
LOOP_PHASES = ("stepping", "acting", "learning", "compiling")  # parts of the training loop's seconds
SECONDS = ("start_up", *LOOP_PHASES, "training", "evaluating", "total")  # of run.json; training is the whole loop
PHASES = ("start_up", *LOOP_PHASES, "rest", "evaluating")  # that a run's time falls into; rest: of the loop
# Keys of a task that are absent where a grid does not give them.
OF_SOME_TASKS = (
    *("id", "kwargs", "variants", "action_bins", "joint_actions", "reward_scale"),
    *("wrappers", "training_wrappers"),
)
DISCOVERY = ("solved", "evaluations")  # likewise, of what its runs are judged by
TASK_CODE = "task_code"  # of a task: its distributions → version, its other modules → their files → digest
RECORDS = {"runs": "run.json", "tuning": "study.json", "probes": "probe.json"}  # the record of a result, by folder
DETERMINED_BY = "determined_by"  # of run.json, study.json, probe.json: the digest of all that determines the numbers
OF_RUN = "run_digest"  # of probe.json: the digest of the files of the run whose policy it measures
DIGITS = 16  # of a SHA-256 in hexadecimal: what is kept of the digest of code

# ------------------------------------------------------------------------------------ videos

VIDEOS = "videos"  # the folder of videos of policies
VIDEO_RECORD = "video.json"  # written last
LARGEST_VIDEO = 300_000  # bytes
VIDEO_KINDS = ("best", "median")  # seeds whose policies are shown, by their final scores

# ------------------------------------------------------------------------------------ studies

BEST = "best.json"  # the winner of a study
STUDY_FILES = (BEST, "study.json", "trials.csv", "parts.csv")  # study.json is written last
FINISHED = ".finished"  # ends the name of an empty file beside a study's folder; goes where a study has to go on
JOURNAL = "journal.log"  # grows when the study goes on
SUPERSEDED = "superseded-{}.log"  # a journal of earlier code
LOCKS = ".locks"  # the folder of a study's locks
UNTUNED = 0  # the number of the trial with the untuned settings
TRIAL_COLUMNS = ("trial", "state", "value", "parts", "diverged", "steps", "seconds")  # the searched settings follow
TRIAL_STATES = ("complete", "pruned")
PART_COLUMNS = ("settings", "trial", "seeds", "task", "seed", "status", "score", "normalized", "steps", "seconds")
PART_SETTINGS = ("trial", "tuned", "untuned")  # whose settings a part was trained with
PART_SEEDS = ("tuning", "fresh")
SCALES = ("linear", "log", "log_one_minus")  # of a search space; the last is for γ: 1 − γ is searched on a log scale

# ------------------------------------------------------------------------------------ probes

PROBE_FILES = ("probe.json", "grams.npz")
MEASURES = (GRADIENTS, ESTIMATORS, QUALITY) = ("gradients", "estimators", "quality")  # what probes measure

# ------------------------------------------------------------------------------------ benchmark

BENCHMARK_FILES = ("benchmark.json", "measurements.csv")
# With what a contestant of this project is compared: another checkout; libraries at the same settings ("peer" is
# Stable-Baselines3); "reference", which is Stable-Baselines3 at settings of its own; and, where it is a user's own
# algorithm, this project's of the same size.
RIVALS = ("base", "rltools", "peer", "reference", "sbx", "pufferlib", "shipped")
MEASUREMENT_COLUMNS = (
    "task",
    "contestant",
    "repetition",
    "status",  # done; unavailable: an optional package or the task is missing; failed
    "reason",  # why it is not done
    "core",  # that the process was pinned to; empty where processes cannot be pinned
    "steps",
    "steps_per_second",  # of the training loop, compiling left out, in processor time
    # Processor time, except the start-up, which is what a user waits. The total is of the process and its children.
    # Empty where a contestant does not say what its loop was at.
    *(f"seconds_{phase}" for phase in SECONDS),
    "compiled",  # of cells: 1 where gradient steps ran as machine code, otherwise 0
    "peak_memory_mb",
)

# ------------------------------------------------------------------------------------ report and logs

REPORT_FILES = ("index.html", "report.md", "summary.json")
PROBLEMS = "problems.json"  # in tables/ and figures/: what a section could not make, and why
MADE_OF = "files.json"  # beside the page: digests of what the page was made of
WRITTEN_TO = "; written to "  # in the last line of a job that has written its result
SNAKEMAKE_ENDED = "Snakemake has ended"  # begins the last words of a job that ended with its Snakemake
