"""Finished run folders become the small tidy tables in data/results that every figure is made from.
Leaves out episodes (megabytes a run) and every average: a mean over seeds is taken where it is shown."""

import json
from dataclasses import fields
from pathlib import Path

import pandas as pd

from pzlib.folder import EVAL_COLUMNS, RunFolder, write_atomic
from pzlib.run import Run, locate, near_names

KEY = ["run_id", "objective", "tier", "seed"]  # the first columns of every table
SETTINGS = [f.name for f in fields(Run) if f.name not in (*KEY, "name")]
FACTS = ["corpus_digest", "model_fingerprint", "parameters"]  # of params.json, beside the settings
# What tells the rows of one run apart; runs.csv has one row a run.
TABLES = {"runs": [], "training": ["step"], "tinybench": ["step", "group", "task"]}


def collect(runs_dir, out_dir):
    """Bring the complete runs under `runs_dir` into the tables in `out_dir`; returns {run_id: state} of all.

    runs.csv has a row a run (settings, facts, cost, environment), training.csv a row a step (the keys of
    metrics.jsonl), tinybench.csv a row a step and task. Rows of a run collected before are replaced, rows of
    runs that are no longer there stay. A run that is not complete is left out: half a curve looks like one.
    Raises FileNotFoundError if there is no such folder, or no run in it.
    """
    folders = [RunFolder(path.parent) for path in sorted(Path(runs_dir).glob("*/params.json"))]
    if not folders:
        raise FileNotFoundError(f"runs: no run in {runs_dir}; `python -m pzlib run NOTEBOOK` makes one")
    found = {folder.params()["run_id"]: folder for folder in folders}
    states = {run_id: folder.state() for run_id, folder in found.items()}
    complete = [folder for run_id, folder in found.items() if states[run_id] == "complete"]
    if complete:
        Path(out_dir).mkdir(parents=True, exist_ok=True)
        for name, rows in {"runs": _settings, "training": _training, "tinybench": _tinybench}.items():
            _merge(Path(out_dir) / f"{name}.csv", [rows(folder) for folder in complete], TABLES[name])
    return states


def load(name):
    """The table `name` (runs, training or tinybench) of data/results as a DataFrame."""
    if name not in TABLES:
        raise ValueError(f"{name}: no such table of results; {near_names(name, TABLES)}")
    path = Path(locate(f"data/results/{name}.csv"))
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not there yet; `python -m pzlib results` makes it from data/runs")
    return pd.read_csv(path)


def _settings(folder):
    params, metrics = folder.params(), folder.metrics()
    env = json.loads((folder.path / "env.json").read_text())
    row = {name: params.get(name) for name in (*KEY, *SETTINGS, *FACTS)}
    row["hours"] = round(metrics["seconds"].sum() / 3600, 4) if "seconds" in metrics else None
    row |= {name: env[name] for name in ("cpu", "gpu", "commit", "uncommitted_changes")}
    row |= {name: env["packages"].get(name) for name in ("torch", "trl", "transformers")}
    return pd.DataFrame([row])


def _training(folder):
    return _keyed(folder, folder.metrics())


def _tinybench(folder):
    return _keyed(folder, folder.evals().reindex(columns=EVAL_COLUMNS))


def _keyed(folder, table):
    params = folder.params()
    return pd.concat([pd.DataFrame({name: [params[name]] * len(table) for name in KEY}), table], axis=1)


def _merge(path, tables, within):
    """Replace the rows of these runs in the csv at `path`; rows in a fixed order, 6 significant digits."""
    new = pd.concat([table for table in tables if len(table)] or tables)
    old = pd.read_csv(path) if path.exists() else new[:0]
    kept = old[~old["run_id"].isin(new["run_id"])]
    both = pd.concat([table for table in (kept, new) if len(table)] or [new])
    both = both.sort_values(["tier", "objective", "seed", "run_id", *within], kind="stable")
    write_atomic(path, both.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
