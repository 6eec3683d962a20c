"""Finished run folders become the small tidy tables in data/results that every figure is made from.
Leaves out episodes (megabytes a run), every average (a mean over seeds is taken where it is shown), and what models are
asked afterwards (`pzlib.studies.measured`)."""

import json
from collections import defaultdict
from dataclasses import fields, replace
from functools import cache, lru_cache
from pathlib import Path

import pandas as pd
from filelock import FileLock

from pzlib.errors import near_names
from pzlib.paths import locate, root
from pzlib.run import Run
from pzlib.runs.folder import EVAL_COLUMNS, RunFolder, write_atomic

KEY = ["run_id", "objective", "tier", "seed"]  # the first columns of every table
SETTINGS = [f.name for f in fields(Run) if f.name not in (*KEY, "name")]
FACTS = ["corpus_digest", "model_fingerprint", "parameters"]  # of params.json, beside the settings
BINS = 20  # rows of training.csv a run: a table of all runs by step would be too large to commit

SICK_STEPS = 20  # for at least so many steps on end a run must look degenerate to be called so
LEAST_ENTROPY = 0.05  # nats a token
MARK = "†"  # in legends, captions and tables
SIGNS = {
    "every completion at the cut": ("predictor/clipped", lambda share: share >= 1 - 1e-6),
    f"entropy under {LEAST_ENTROPY}": ("predictor/entropy", lambda nats: nats < LEAST_ENTROPY),
}

# What tells the rows of one run apart; runs.csv has one row a run. tinybench.csv is the table of scores, whatever was
# asked: it has the name of what the small tiers ask, under which their rows are committed. A row a run, step and task.
TABLES = {"runs": [], "training": ["step"], "tinybench": ["step", "group", "task"]}

# Every table, and the command that makes it.
MADE_BY = dict.fromkeys(TABLES, "pzlib results") | {
    "perplexity": "pzlib run notebooks/10_rlp.ipynb",
    "patterns": "pzlib run notebooks/07_reasoning_patterns.ipynb",
    "case": "pzlib run notebooks/07_reasoning_patterns.ipynb",
    "probes": "pzlib probe RUN_ID", "gate": "pzlib gate MODEL",
    "costs": "tests.bench.steps", "costs_side_new": "tests.bench.steps",
    "scratch": "tests.bench.scratch",
}


def blank(table):
    """A table of that name without rows, with the columns of the committed one or of any: cells that read it go on."""
    committed = locate(f"data/results/{table}.csv")
    if Path(committed).is_file():
        return pd.read_csv(committed, nrows=0)
    return pd.DataFrame(columns=[*dict.fromkeys([*KEY, *(EVAL_COLUMNS if table == "tinybench" else ["step"])])])


def folder_of(tier, results=None):
    """Where rows of a tier are kept: data/results for `mini`, which is committed, else a folder of the tier's name."""
    return Path(results or root() / "data/results") / ("" if tier == "mini" else tier)


def read_from(tier):
    """The folder that rows of a tier are read from: where they are kept, or the repository's where none is there."""
    return Path(locate(folder_of(tier).relative_to(root())))


def collect(runs_dir, out_dir):
    """Bring the complete runs under `runs_dir` into the tables in `out_dir`; returns {run_id: state} of all.

    Those of another tier than `mini` go to a folder of the tier's name there.

    runs.csv has a row per run (settings, facts, cost, environment), training.csv 20 rows per run (means of the keys of
    metrics.jsonl), tinybench.csv a row per step and task. Rows of a run collected before are replaced, rows of
    runs that are no longer there stay. A run that is not complete is left out: half a curve looks like one.
    Raises FileNotFoundError if there is no such folder, or no run in it.
    """
    folders = [RunFolder(path.parent) for path in sorted(Path(runs_dir).glob("*/params.json"))]
    if not folders:
        raise FileNotFoundError(f"runs: no run in {runs_dir}; `python -m pzlib run NOTEBOOK` makes one")
    states, complete = {}, defaultdict(list)
    for folder in folders:
        params = folder.params()
        states[params["run_id"]] = folder.state()
        if folder.state() == "complete":
            complete[params["tier"]].append(folder)
    for tier, own in complete.items():
        bring(own, folder_of(tier, out_dir))
    return states


def bring(folders, out_dir):
    """Bring complete RunFolders of one tier into the tables in `out_dir`, as `collect` does.

    A run that was made again for its model alone, without scores, leaves the rows that are stored of it as they are."""
    Path(out_dir).mkdir(parents=True, exist_ok=True)
    with FileLock(Path(out_dir) / ".lock"):  # two grids may end a run at the same moment
        path = Path(out_dir) / "tinybench.csv"
        scored = set(pd.read_csv(path, usecols=["run_id"])["run_id"]) if path.is_file() else set()
        folders = [folder for folder in folders if folder.path.name not in scored or len(folder.evals())]
        if not folders:
            return
        tables = {
            "training": lambda folder: keyed(folder, binned(folder.metrics())),
            "tinybench": lambda folder: keyed(folder, folder.evals().reindex(columns=EVAL_COLUMNS)),
            "runs": _settings,  # last: a run that is in it is stored whole
        }
        for name, rows in tables.items():
            merge(Path(out_dir) / f"{name}.csv", [rows(folder) for folder in folders], TABLES[name])


def of_run(folder, name):
    """The `metrics` or `evals` of one RunFolder as figures take them: with its run id, objective, tier and seed."""
    return keyed(folder, getattr(folder, name)())


def load(name, tier="mini", folder=None):
    """The table `name` (a key of MADE_BY: runs, training, tinybench, ...) of a tier, or of `folder`, as a DataFrame."""
    if name not in MADE_BY:
        raise ValueError(f"{name}: no such table of results; {near_names(name, MADE_BY)}")
    path = Path(folder or read_from(tier)) / f"{name}.csv"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not there yet; `python -m {MADE_BY[name]}` makes it from data/runs")
    return with_marks(read(path), path.parent)


def with_marks(table, folder):
    """A table of runs with the column `degenerate` (`degenerate`), from the rows of training in `folder`."""
    path = Path(folder) / "training.csv"
    if "run_id" not in table or not path.is_file():
        return table
    marks = _degenerate(path, path.stat().st_mtime_ns)
    return table.assign(degenerate=[marks.get(run_id, "") for run_id in table["run_id"]])


@lru_cache(maxsize=4)
def _degenerate(path, changed):
    return degenerate(read(path))


def read(path):
    """A table as a DataFrame in one piece: with the many that read_csv leaves, pandas warns of each column added.

    Rows of scores that were stored before a column was there have none in it."""
    table = pd.read_csv(path)
    if Path(path).stem == "tinybench":
        table = table.reindex(columns=[*table, *(name for name in EVAL_COLUMNS if name not in table)])
    return table.copy()


@cache
def other_seeds(run):
    """The stored rows of runs that differ from `run` in their seed alone: {"training": ..., "tinybench": ...}, or {}.
    Read once per process, since a live view draws them behind every picture."""
    try:
        tables = {name: load(name, run.tier) for name in ("training", "tinybench")}
    except FileNotFoundError:
        return {}
    seeds = set(tables["training"]["seed"]) - {run.seed}
    same = [replace(run, seed=int(seed), name="").run_id for seed in sorted(seeds)]
    return {name: table[table["run_id"].isin(same)] for name, table in tables.items()}


def stored(tier="mini"):
    """The tables of a tier that are there: {name: DataFrame}, perhaps none."""
    paths = {name: read_from(tier) / f"{name}.csv" for name in MADE_BY}
    return {name: with_marks(read(path), path.parent) for name, path in paths.items() if path.is_file()}


def _settings(folder):
    params, metrics = folder.params(), folder.metrics()
    env = json.loads((folder.path / "env.json").read_text())
    row = {name: params.get(name) for name in (*KEY, *SETTINGS, *FACTS)}
    spent = [name for name in ("seconds", "seconds_evaluation") if name in metrics]
    row["hours"] = round(metrics[spent].sum().sum() / 3600, 4) if spent else None
    row |= {name: env[name] for name in ("cpu", "gpu", "commit", "uncommitted_changes")}
    row |= {name: env["packages"].get(name) for name in ("torch", "trl", "transformers")}
    row["degenerate"] = degenerate(binned(metrics).assign(run_id=folder.path.name)).get(folder.path.name, "")
    return pd.DataFrame([row])


def binned(metrics, bins=BINS):
    """Means over `bins` equal stretches of a run's metrics; `step` is a stretch's last. Short runs stay as they are.

    A step with legal masks but none of a kind has share 0 of that kind, which metrics.jsonl leaves out, and so has a
    verdict that nothing got; an accuracy on a kind is the mean over the steps that had such masks.

    >>> verdicts = {"step": [1, 2], "verdict/right": [1, 0.5], "verdict/wrong": [None, 0.5]}
    >>> binned(pd.DataFrame(verdicts), bins=1).to_numpy().tolist()
    [[2.0, 0.75, 0.25]]
    >>> rows = {"step": [1, 2, 3, 4], "mask/sum": [1.0, None, 0.5, 0.5], "mask/trivial": [None, 1.0, 0.5, 0.5]}
    >>> binned(pd.DataFrame(rows), bins=2).to_numpy().tolist()
    [[2.0, 0.5, 0.5], [4.0, 0.5, 0.5]]
    """
    length = max(1, -(-len(metrics) // bins))
    for whole in ("mask/", "verdict/"):
        shares = [name for name in metrics if name.startswith(whole) and name not in ("mask/words", "mask/position")]
        some = metrics[shares].notna().any(axis=1)
        metrics = metrics.assign(**metrics[shares].where(~some.to_numpy()[:, None] | metrics[shares].notna(), 0.0))
    ends = (metrics["step"] - 1) // length
    return metrics.groupby(ends).mean().assign(step=metrics.groupby(ends)["step"].max()).reset_index(drop=True)


def degenerate(training: pd.DataFrame) -> pd.Series:
    """{run_id: since when and by which sign} of the runs that degenerated; the others are not in it.

    Such a run stays in every mean; it is marked wherever it is shown, so that nobody reads it as a result.

    training: rows of training.csv, each a mean over the steps since the row before, or of a run's metrics with a column
    `run_id`. Methods that sample nothing have no such columns and cannot degenerate in this sense.

    >>> rows = {"run_id": "a", "step": [10, 20, 30], "predictor/clipped": [0.4, 1.0, 1.0]}
    >>> degenerate(pd.DataFrame(rows)).to_dict()
    {'a': 'every completion at the cut from step 11 to 30'}
    """
    found = {}
    for run_id, rows in training.groupby("run_id", sort=False):
        rows = rows.sort_values("step")
        before = rows["step"].shift(fill_value=0)
        for words, (column, holds) in SIGNS.items():
            if column not in rows:
                continue
            sick = holds(rows[column].astype(float))
            for _, own in rows[sick].groupby((~sick).cumsum()[sick]):
                start, end = int(before[own.index[0]]), int(own["step"].iloc[-1])
                if end - start >= SICK_STEPS:
                    found.setdefault(run_id, f"{words} from step {start + 1} to {end}")
    return pd.Series(found, dtype=object, name="degenerate")


def notes(table: pd.DataFrame, label=str, of: str = "") -> list[str]:
    """A line for each run that degenerated, as its arm's label, seed and words, by the column `degenerate` of the table
    (`with_marks`); [] for one without it. More than three by one sign share a line, with how many they are by arm, or
    that they are all. of: what the runs are runs of.

    >>> row = {"arm": "rlp", "seed": 1, "degenerate": "every completion at the cut from step 11 to 30"}
    >>> notes(pd.DataFrame([row]))
    ['† rlp, seed 1: every completion at the cut from step 11 to 30']
    """
    if "degenerate" not in table:
        return []
    runs = table[table["degenerate"].astype(object).fillna("") != ""].drop_duplicates(["arm", "seed"])
    lines = []
    signs = runs["degenerate"].map(lambda words: words.split(" from step ")[0])
    for sign, own in runs.groupby(signs, sort=False):
        if len(own) <= 3:
            lines += [f"{MARK} {label(row.arm)}, seed {row.seed}: {row.degenerate}" for row in own.itertuples()]
        else:
            each = ", ".join(f"{label(arm)} {n}" for arm, n in own["arm"].value_counts(sort=False).items())
            every = len(own) == len(table.drop_duplicates(["arm", "seed"]))
            who = f"{'All ' * every}{len(own)} runs{f' of {of}' * bool(of)}"
            lines.append(f"{MARK} {who}: {sign} for {SICK_STEPS} steps or more{f' ({each})' * (not every)}")
    return lines


def keyed(folder, table):
    """The table of one RunFolder, with the columns KEY before its own."""
    params = folder.params()
    return pd.concat([pd.DataFrame({name: [params[name]] * len(table) for name in KEY}), table], axis=1)


def merge(path, tables, within):
    """Replace the rows of these runs in the csv at `path`; rows in a fixed order, 6 significant digits."""
    new = pd.concat([table for table in tables if len(table)] or tables)
    old = pd.read_csv(path) if path.exists() else new[:0]
    kept = old[~old["run_id"].isin(new["run_id"])]
    both = pd.concat([table for table in (kept, new) if len(table)] or [new])
    both = both.sort_values(["tier", "objective", "seed", "run_id", *within], kind="stable")
    write_atomic(path, both.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
