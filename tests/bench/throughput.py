"""What Ray costs: the same smoke runs by `batch` and by a shell loop of two at a time, `python -m tests.bench.throughput`.
Leaves out clusters and GPUs: one machine, processors only, nothing else running on it if the ratio is to mean much."""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from pzlib.paths import REPO, root
from pzlib.runs.folder import RunFolder, write_atomic

AIM = ">= 0.9"



def main():
    from tests.bench.stopwatch import device  # which imports torch

    parser = argparse.ArgumentParser(prog="python -m tests.bench.throughput", description=__doc__)
    parser.add_argument("--runs", type=int, default=16)
    parser.add_argument("--jobs", type=int, default=2, help="at a time, in both ways")
    parser.add_argument("--steps", type=int, help="of a run; by default the tier smoke's")
    parser.add_argument("--rounds", type=int, default=1, help="of both ways, one after the other")
    given = parser.parse_args()
    rows = []
    for _ in range(given.rounds):
        for way in (shell_loop, batch):
            seconds = timed(way, given.runs, given.jobs, given.steps)
            print(f"{way.__name__}: {given.runs} runs in {seconds:.1f} s", flush=True)
            rows.append((way.__name__, given.runs, given.jobs, given.steps, round(seconds, 1)))
    table = pd.DataFrame(rows, columns=["way", "runs", "jobs", "steps", "seconds"])
    total = table.groupby("way")["seconds"].sum()
    print(f"{device()}\nthroughput, batch / shell loop: {total['shell_loop'] / total['batch']:.3f} (aim {AIM})")
    results = root() / "data/results"
    results.mkdir(parents=True, exist_ok=True)
    table["device"] = device()
    write_atomic(results / "throughput.csv", table.to_csv(index=False, lineterminator="\n"))



def timed(way, runs, jobs, steps):
    """Seconds that `runs` seeds of notebook 04 at smoke take in a home of their own, start-up and all.

    Raises RuntimeError where one is not complete: a failed run is quick.
    """
    notebook = str(REPO / "notebooks/04_pretrainzero.ipynb")
    given = ["-p", "tier", "smoke"] + (["-p", "steps", str(steps)] if steps else [])
    threads = max(1, (os.cpu_count() or 1) // jobs)
    with tempfile.TemporaryDirectory() as home:
        env = {**os.environ, "PZLIB_HOME": home, "OMP_NUM_THREADS": str(threads), "CUDA_VISIBLE_DEVICES": ""}
        began = time.monotonic()
        subprocess.run(way(notebook, given, runs, jobs), env=env, check=True, stdout=sys.stderr)
        seconds = time.monotonic() - began
        states = [RunFolder(path.parent).state() for path in Path(home).glob("data/runs/*/params.json")]
    if states != ["complete"] * runs:
        raise RuntimeError(f"{states.count('complete')} of {runs} runs are complete")
    return seconds



def shell_loop(notebook, given, runs, jobs):
    """The command that a person would type without `batch`."""
    each = [sys.executable, "-m", "pzlib", "run", notebook, *given, "-p", "seed", "{}"]
    return ["sh", "-c", f'seq 0 {runs - 1} | xargs -P {jobs} -I{{}} "$@"', "sh", *each]



def batch(notebook, given, runs, jobs):
    return [sys.executable, "-m", "pzlib", "batch", notebook, *given, "--seeds", f"0-{runs - 1}", "--jobs", str(jobs)]

if __name__ == "__main__":
    main()
