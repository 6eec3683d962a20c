"""A long run, watched for what it keeps: memory, open files, threads, processes. `python -m tests.bench.soak` writes
data/results/soak.csv. Leaves out GPUs, several processes, and results: nothing is learned of a method here."""

import argparse
import ctypes
import gc
import os
import tempfile

import pandas as pd
import psutil
import pyarrow as pa

from pzlib.paths import root
from pzlib.run import Run
from pzlib.runs.folder import RunFolder, write_atomic

EVERY = 50  # steps

SETTLED = 200  # steps after which nothing may grow any more

# The most that a later value may be, as a ratio; what the allocators merely keep for later comes and goes.
AIMS = {"resident_mib": None, "kept_mib": 1.03, "files": 1.0, "threads": 1.0, "processes": 1.0}



def soak(steps, every=EVERY):
    """A row for every `every` steps of PretrainZero at smoke: step, resident_mib, kept_mib, files, threads, processes.

    kept_mib is what stays resident when garbage is collected and the allocators have given back what is free. The run
    is evaluated, saved and drawn as in notebook 04, all at each row. Raises ValueError for a damaged episode file.
    """
    from pzlib.evaluation.small_world import small_world
    from pzlib.figures.live import picture
    from pzlib.train import train

    run = Run(tier="smoke", steps=steps, eval_every=every, save_every=every, name="soak")
    ask, me, rows = small_world(run.eval_items), psutil.Process(), []

    def evaluate(model, tokenizer, step):
        answers = ask(model, tokenizer, step)
        if step:
            picture(RunFolder(run.folder), step, steps).png()
            resident = me.memory_info().rss
            gc.collect()
            pa.default_memory_pool().release_unused()
            ctypes.CDLL(None).malloc_trim(0)
            memory = {"resident_mib": resident, "kept_mib": me.memory_info().rss}
            counts = {"files": me.num_fds(), "threads": me.num_threads(), "processes": len(me.children(recursive=True))}
            rows.append({"step": step, **{name: round(size / 2**20, 1) for name, size in memory.items()}, **counts})
            print(rows[-1], flush=True)
        return answers

    folder = train(run, evaluate=evaluate)
    if folder.episode_steps() != list(range(1, steps + 1)):
        raise ValueError(f"{folder.path}: of {steps} steps {len(folder.episode_steps())} have episodes")
    folder.episodes()
    return pd.DataFrame(rows)



def growth(rows):
    """What each column's largest later value is, as a ratio of its value at the first row from `SETTLED` on.

    Of one that was 0 there it is 1 plus the largest.

    >>> growth(pd.DataFrame({"step": [100, 200, 300, 400], "kept_mib": [50.0, 100.0, 102.0, 101.0]}))
    {'kept_mib': 1.02}
    """
    later = rows[rows["step"] >= SETTLED].set_index("step")
    if len(later) < 2:
        raise ValueError(f"steps: nothing was looked at twice after step {SETTLED}; give more")
    firsts = later.iloc[0]
    return {name: float(later[name].max() / firsts[name] if firsts[name] else 1 + later[name].max()) for name in later}



def main():
    from tests.bench.stopwatch import device

    parser = argparse.ArgumentParser(prog="python -m tests.bench.soak", description=__doc__)
    parser.add_argument("--steps", type=int, default=2000, help=f"{SETTLED + 2 * EVERY} or more")
    steps = parser.parse_args().steps
    if steps < SETTLED + 2 * EVERY:
        parser.error(f"--steps: {steps} are too few; nothing may grow after step {SETTLED}, so give more")
    with tempfile.TemporaryDirectory() as home:
        os.environ["PZLIB_HOME"] = str(home)
        rows = soak(steps)
    for name, ratio in growth(rows).items():
        aim = f" (aim <= {AIMS[name]})" if AIMS[name] else ""
        print(f"{name}, most after step {SETTLED} / at it: {ratio:.3f}{aim}")
    rows["device"] = device()
    write_atomic(root() / "data/results/soak.csv", rows.to_csv(index=False, lineterminator="\n"))

if __name__ == "__main__":
    main()
