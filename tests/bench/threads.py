"""How long OpenMP's threads should spin: `python -m tests.bench.threads` times mini steps on idle and on busy cores, in
turn (A B A B), and fills data/results/threads.csv. Leaves out GPUs, and libraries other than GNU's OpenMP. Where the
machine is not idle, `--first` (as root) lets all go before everything else but what is counted on busy cores; what is
chosen by load is then chosen for busy ones."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import pandas as pd

from pzlib.engine.processes import TRAIN, start, stop
from pzlib.paths import root
from pzlib.run import Run
from pzlib.runs.folder import RunFolder, write_atomic

WARM = 2  # steps that are not counted
CORES = os.cpu_count() or 1
CHOSEN = "chosen"  # as `pzlib.openmp_spins` does
# OpenMP itself takes 300,000, which are milliseconds.
CHOICES = [(1, "300000")] + [(CORES, spins) for spins in ("300000", "0", "100", "1000", CHOSEN)]


def seconds(threads, spins, steps, first=False, idle=False):
    """Of each counted step of a mini run, trained by a process with so many threads that spin so often.

    first: its threads have the cores for themselves; if not `idle`, until the first counted step only.
    """
    with tempfile.TemporaryDirectory() as home:
        run = Run(tier="mini", steps=steps + WARM + 1, eval_every=0, save_every=10_000, name="threads")
        task, metrics = Path(home, "task.json"), Path(home, "data/runs/threads/metrics.jsonl")
        task.write_text(json.dumps({"settings": run.to_dict(), "evaluation": None}))
        given = {} if spins == CHOSEN else {"GOMP_SPINCOUNT": spins, "PZLIB_SPINS": ""}  # "": it is none of pzlib's own
        env = {"PZLIB_HOME": home, "OMP_NUM_THREADS": str(threads)} | given
        priority = ["chrt", "--rr", "1"] if first else []
        child = start([*priority, *TRAIN, task], env, stdout=sys.stderr)
        while first and not idle and child.poll() is None:
            if metrics.exists() and metrics.read_text().count("\n") >= WARM:
                for thread in Path(f"/proc/{child.pid}/task").glob("*"):
                    os.sched_setscheduler(int(thread.name), os.SCHED_OTHER, os.sched_param(0))
                break
            time.sleep(0.02)
        if child.wait():
            raise SystemExit(child.returncode)
        return RunFolder(metrics.parent).metrics()["seconds"].tolist()[WARM + 1 :]


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.bench.threads", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="processes behind each number")
    parser.add_argument("--steps", type=int, default=6, help="steps of each process")
    parser.add_argument("--first", action="store_true", help="by priority")
    given = parser.parse_args()
    rows = []
    for load in ("idle", "busy"):
        others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(CORES * (load == "busy"))]
        try:
            found = {choice: [] for choice in CHOICES}
            for _ in range(given.rounds):
                for choice in CHOICES:
                    found[choice].append(median(seconds(*choice, given.steps, given.first, load == "idle")))
        finally:
            stop(*others)
        best = min(median(times) for times in found.values())
        for (threads, spins), times in found.items():
            middle = median(times)
            rows.append((load, threads, spins, middle, min(times), max(times), middle / best))
    columns = ["cores", "threads", "spins", "seconds", "lowest", "highest", "over_best"]
    table = pd.DataFrame(rows, columns=columns).round(3)
    print(table.to_string(index=False))
    write_atomic(root() / "data/results/threads.csv", table.to_csv(index=False, lineterminator="\n"))


if __name__ == "__main__":
    main()
