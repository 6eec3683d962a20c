"""What a mini step of each method costs beside an earlier revision: `python -m tests.bench.revisions f317cd7` fills
data/results/revisions.csv. Both take each step in turn (A B B A), in a process and on a thread of their own. Leaves out
evaluation and checkpoints, and methods that the earlier revision has not."""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import pandas as pd

from pzlib.engine.processes import start
from pzlib.paths import REPO, root
from pzlib.run import Run
from pzlib.runs.folder import write_atomic
from tests.bench.stopwatch import WARM, device

AIM = 1.03  # of the median ratio
# Imports only what every revision has. Seconds are the process's own, so that other work counts little; a step begins
# when the parent says so. Generation is within a step, the making of a supervised method's rows is before it.
CHILD = """
import json, sys, time
import torch
from transformers.trainer_callback import CallbackHandler
from pzlib.run import Run
from pzlib.train import train

torch.set_num_threads(1)
begin, end = CallbackHandler.on_step_begin, CallbackHandler.on_step_end

def on_step_begin(self, *args):
    global began
    sys.stdin.readline()
    began = time.process_time()
    return begin(self, *args)

def on_step_end(self, *args):
    found = end(self, *args)
    print("took", time.process_time() - began, file=sys.__stdout__, flush=True)
    return found

CallbackHandler.on_step_begin, CallbackHandler.on_step_end = on_step_begin, on_step_end
train(Run(**json.loads(sys.argv[1])))
"""


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.bench.revisions", description=__doc__)
    parser.add_argument("revision", help="of git, that the working tree is compared with")
    parser.add_argument("--objectives", nargs="+", help="default: all that the earlier revision has")
    parser.add_argument("--steps", type=int, default=16, help="pairs of steps behind each number")
    parser.add_argument("--processes", type=int, default=1, help="pairs of processes: as many times as many steps")
    given = parser.parse_args()
    with checked_out(given.revision) as before:
        for objective in given.objectives or known(before):
            row = {"objective": objective} | compared(objective, before, given.steps, given.processes)
            print(row, flush=True)
            keep(row | {"aim": f"<= {AIM}", "against": given.revision, "device": device()})


def keep(row):
    """Bring a row into the table at once, in the place of one of the same method and revision."""
    path, new = root() / "data/results/revisions.csv", pd.DataFrame([row])
    old = pd.read_csv(path) if path.is_file() else new[:0]
    same = (old["objective"] == row["objective"]) & (old["against"].astype(str) == row["against"])
    table = pd.concat([part for part in (old[~same], new) if len(part)])
    write_atomic(path, table.to_csv(index=False, lineterminator="\n"))


@contextlib.contextmanager
def checked_out(revision):
    """A folder with the files of that revision, for as long as it is entered."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["git", "worktree", "add", "--detach", f"{folder}/at", revision], cwd=REPO, check=True)
        try:
            yield Path(folder, "at")
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", f"{folder}/at"], cwd=REPO, check=True)


def known(before):
    """The methods of this revision that the one in `before` has too."""
    return [name for name in Run.choices("objective") if _starts(before, name)]


def _starts(before, objective):
    code = f"from pzlib.run import Run; Run(objective={objective!r})"
    around = {"PYTHONPATH": str(before)}
    return not start([sys.executable, "-c", code], around, cwd=before, stderr=subprocess.DEVNULL).wait()


def compared(objective, before, steps, processes=1):
    """{"before", "now": seconds of the median step, "ratio", "low", "high": of now to before, its median over pairs of
    steps and its quartiles, "pairs"}; RuntimeError where a child ends too early.

    processes: pairs of them that take `steps` each. How a process's memory is placed can weigh more than its code, and
    no number of steps averages that out: the short steps of supervised methods need about eight.
    """
    settings = {"objective": objective, "steps": steps + WARM, "eval_every": 0, "save_every": 10_000, "name": "one"}
    pairs = []
    for _ in range(processes):
        with tempfile.TemporaryDirectory() as homes:
            children = [_child(place, f"{homes}/{i}", settings) for i, place in enumerate((before, REPO))]
            try:
                turns = [(0, 1) if i % 2 else (1, 0) for i in range(steps + WARM)]  # the second finds a colder cache
                found = [{which: _step(children[which]) for which in turn} for turn in turns]
                pairs += [(own[0], own[1]) for own in found[WARM:]]
            finally:
                for child in children:
                    child.stdin.close()
                    child.wait()
    return summary(pairs)


def summary(pairs):
    """Of (seconds before, seconds now) pairs the columns of `compared`.

    >>> summary([(1.0, 1.1), (2.0, 2.0), (1.0, 0.9), (4.0, 4.0)])
    {'before': 1.5, 'now': 1.55, 'ratio': 1.0, 'low': 0.975, 'high': 1.025, 'pairs': 4}
    """
    ratios = pd.Series([now / was for was, now in pairs])
    each = {"before": median(was for was, _ in pairs), "now": median(now for _, now in pairs), "ratio": ratios.median()}
    each |= {"low": ratios.quantile(0.25), "high": ratios.quantile(0.75)}
    return {name: float(f"{value:.4g}") for name, value in each.items()} | {"pairs": len(pairs)}


def _child(place, home, settings):
    Path(home).mkdir()
    around = {"PYTHONPATH": str(place), "PZLIB_HOME": home, "OMP_NUM_THREADS": "1"}
    pipes = {"stdin": subprocess.PIPE, "stderr": open(f"{home}/log", "w")}
    child = start([sys.executable, "-c", CHILD, json.dumps(settings)], around, cwd=place, **pipes)
    child.log = Path(home, "log")
    return child


def _step(child):
    """Seconds of one step of a child."""
    with contextlib.suppress(BrokenPipeError):
        child.stdin.write("\n")
        child.stdin.flush()
    for line in child.stdout:
        if line.startswith("took "):
            return float(line.split()[1])
    said = child.log.read_text().strip().rpartition("\n")[2]
    raise RuntimeError(f"a child ended with exit code {child.wait()} before its last step: {said}")


if __name__ == "__main__":
    main()
