"""How long OpenMP's threads should spin: `python -m tests.bench.threads` times mini steps on idle and on busy cores, in
turn (A B A B), and fills data/results/threads.csv. Leaves out GPUs, and libraries other than GNU's OpenMP."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import pandas as pd

from pzlib.engine.processes import TRAIN, start, stop
from pzlib.paths import root
from pzlib.run import Run
from pzlib.runs.folder import RunFolder, write_atomic

WARM = 2  # steps that are not counted
CORES = os.cpu_count() or 1
# What the library gives without a word spins 300,000 times before it sleeps, for milliseconds.
CHOICES = [(1, "")] + [(CORES, spins) for spins in ("", "0", "1000", "10000", "50000")]


def seconds(threads, spins, steps):
    """Of each counted step of a mini run, trained by a process with so many threads that spin so often ("": as is)."""
    with tempfile.TemporaryDirectory() as home:
        run = Run(tier="mini", steps=steps + WARM, eval_every=0, save_every=10_000, name="threads")
        task = Path(home, "task.json")
        task.write_text(json.dumps({"settings": run.to_dict(), "evaluation": None}))
        env = {"PZLIB_HOME": home, "OMP_NUM_THREADS": str(threads)} | ({"GOMP_SPINCOUNT": spins} if spins else {})
        child = start([*TRAIN, task], env)
        printed = child.communicate()[0]
        if child.returncode:
            raise SystemExit(printed)
        return RunFolder(Path(home, "data/runs/threads")).metrics()["seconds"].tolist()[WARM:]


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.bench.threads", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="processes behind each number")
    parser.add_argument("--steps", type=int, default=6, help="steps of each process")
    given = parser.parse_args()
    rows = []
    for load in ("idle", "busy"):
        others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(CORES * (load == "busy"))]
        try:
            found = {choice: [] for choice in CHOICES}
            for _ in range(given.rounds):
                for choice in CHOICES:
                    found[choice].append(median(seconds(*choice, given.steps)))
        finally:
            stop(*others)
        best = min(median(times) for times in found.values())
        for (threads, spins), times in found.items():
            middle = median(times)
            rows.append((load, threads, spins or "default", middle, min(times), max(times), middle / best))
    columns = ["cores", "threads", "spins", "seconds", "lowest", "highest", "over_best"]
    table = pd.DataFrame(rows, columns=columns).round(3)
    print(table.to_string(index=False))
    write_atomic(root() / "data/results/threads.csv", table.to_csv(index=False, lineterminator="\n"))


if __name__ == "__main__":
    main()
