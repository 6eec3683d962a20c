"""Scores along training: the models that a run kept, asked benchmarks after it ended, as rows of the run's eval.csv.
Leaves out how one model is asked (`pzlib.evaluation.scores`), which keeps every finished benchmark."""

import gc
import queue
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from pzlib.engine import processes
from pzlib.evaluation import scores
from pzlib.evaluation.benchmarks import CURVE, chosen, sources
from pzlib.evaluation.harness import Protocol
from pzlib.paths import relative, root
from pzlib.runs.callbacks import kept
from pzlib.runs.folder import RunFolder, write_atomic
from pzlib.tiers import WORLDS

PAIRED = "paired.csv"  # in the run's folder: a row a step and task, what it has more than the start


def models(run_id: str) -> dict[int, str]:
    """{step: the model as `Run.model` names it} of a run's start, of every model it kept, and of its end.

    Errors: FileNotFoundError for no such run, ValueError for one that trains now.
    """
    folder = RunFolder(root() / "data/runs" / run_id)
    if not (folder.path / "params.json").is_file():
        raise FileNotFoundError(f"model: {run_id!r} is not a run of data/runs; --along scores models that a run kept")
    if folder.state() == "running":
        raise ValueError(f"model: {run_id} trains now; score it along its training when it has ended")
    steps = {step: run_id if path.name == "model" else f"{run_id}@{step}" for step, path in kept(folder).items()}
    return {0: folder.params()["model"], **steps}


def along(
    run_id: str, tasks: Sequence[str], protocol: Protocol, data: Sequence[str] = (), random_option: bool = False,
    output: Path | str | None = None, jobs: int = 1, say: Callable[[str], None] = print,
) -> pd.DataFrame:  # fmt: skip
    """Ask every model of a run's `models` the same questions; their scores become rows of the run, for `pzlib results`.
    Returns its comparisons with the start, question by question: step, task, difference, low, high, p, n, sources.

    tasks: by default the curve of the tier's world, at `gpu` and `paper` the fixed tenth of MMLU-Pro. jobs: how many
    models at a time, one per GPU. A benchmark that one model has finished is not asked again, and the base's are asked
    once for all runs that start from it.
    Errors: as `models` and `pzlib.evaluation.scores.evaluate`; RuntimeError where a process of its own failed.
    """
    found = models(run_id)
    world = WORLDS[RunFolder(root() / "data/runs" / run_id).params()["tier"]]
    tasks = chosen(tasks or [CURVE if world.small else world.curve])  # a small run was asked the small world as it went
    sources(tasks, data)  # what is not there is said before a model is asked
    asked = (tasks, protocol, data, random_option, output)
    if jobs > 1 or protocol.backend == "vllm":  # whose engine keeps a GPU's memory for as long as its process lives
        _beside([_command(model, *asked) for model in found.values()], jobs)
    folder, start, pairs = RunFolder(root() / "data/runs" / run_id), None, []
    for step, model in found.items():
        say(f"step {step}: {model}")
        there, _ = scores.evaluate(model, *asked, say=say)
        gc.collect()  # the model before this one, of which the harness holds circles
        folder.append_eval([{"step": step, **row} for row in scores.rows_of(there, tasks)])
        start = start or there
        if there != start:
            pairs.append(scores.compare(there, start, tasks).assign(step=step))
    if not pairs:
        return pd.DataFrame(columns=["step", "task", "difference", "low", "high", "p", "n", "sources"])
    table = pd.concat(pairs)[["step", "task", "difference", "low", "high", "p", "n", "sources"]]
    path = folder.path / PAIRED
    if path.is_file():  # of other tasks
        before = pd.read_csv(path)
        table = pd.concat([before[~before["task"].isin(tasks)], table])
    table = table.sort_values(["task", "step"], kind="stable").reset_index(drop=True)
    write_atomic(path, table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    return table[table["task"].isin(tasks)]


def shown(table: pd.DataFrame, run_id: str) -> str:
    """What `along` returned, a line per step and task, and where the rows are."""
    lines = []
    for row in table.itertuples():
        points = f"{100 * row.difference:+.1f} points [{100 * row.low:+.1f}, {100 * row.high:+.1f}], p = {row.p:.2g}"
        lines.append(f"{row.task}: step {row.step} - start = {points} ({row.n} questions, paired)")
    path = relative(root() / "data/runs" / run_id / "eval.csv")
    return "\n".join([*lines, f"rows: {path}; `pzlib results` collects them"])


def _command(model, tasks, protocol, data, random_option, output):
    """The command that asks one model in a process of its own."""
    words = [sys.executable, "-m", "pzlib", "evaluate", model, "--tasks", *tasks]
    for name, value in vars(protocol).items():
        flag = f"--{name.replace('_', '-')}"
        words += [flag] * (value is True) if isinstance(value, bool) else [] if value is None else [flag, str(value)]
    words += [word for one in data for word in ("--data", one)]
    return words + ["--random-option"] * random_option + (["--output", str(output)] if output else [])


def _beside(commands, jobs):
    """Run the commands, `jobs` at a time; each of them sees one GPU of its own, where there are any."""
    gpus = processes.visible_gpus()
    if 0 < len(gpus) < jobs:
        raise ValueError(f"jobs: {jobs} at a time need a GPU each, here are {len(gpus)}; lower it")
    free, running = queue.SimpleQueue(), []
    for gpu in gpus[:jobs]:
        free.put({"CUDA_VISIBLE_DEVICES": gpu})

    def work(command):
        own = free.get() if gpus else {}
        running.append(child := processes.start(command, own))
        for line in child.stdout:
            print(line, end="", flush=True)
        if gpus:
            free.put(own)
        if child.wait():
            how = f"{command[4]}: {processes.how_it_ended(child.returncode)}"
            raise RuntimeError(f"evaluate: {how}, its last line above says why; the same command goes on")

    with ThreadPoolExecutor(jobs) as pool:
        try:
            list(pool.map(work, commands))
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            if not isinstance(error, RuntimeError):  # where one failed the others finish what they have begun
                processes.stop(*running)
            raise
