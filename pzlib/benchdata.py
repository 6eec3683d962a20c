"""Where a benchmark's rows come from: a local file, the hub, or this repository; read as published.
Leaves out what the columns mean, which is `pzlib.benchmarks`'."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from pzlib.benchmarks import BENCHMARKS, chosen
from pzlib.records import records

SUFFIXES = (".jsonl", ".json", ".parquet")
VALIDATION = "_validation"  # ends the name of a file with worked examples, which are never the questions
TINYBENCH_ITEMS = 64  # questions a task, as many as a run of the small world is asked


def sources(tasks: Sequence[str], data: Sequence[str] = ()) -> dict[str, Path | None]:
    """The local file of each task, None for the hub, by what `--data` was given: folders, or task=path.

    In a folder a task's file is the one whose name begins as `Benchmark.files` says: `gsm8k_test.jsonl` is gsm8k's.
    Errors: ValueError for a task that was not asked for, a folder without a task's file, or with several.
    """
    named, folders = {}, []
    for given in data:
        task, equals, path = given.partition("=")
        if equals and task in BENCHMARKS:
            named[task] = Path(path).expanduser()
        else:
            folders.append(Path(given).expanduser())
    for task in named:
        if task not in tasks:
            raise ValueError(f"data: {task} is not among the tasks {', '.join(tasks)}; add it, or leave its data out")
    for path in (*named.values(), *folders):
        if not path.exists():
            raise FileNotFoundError(f"data: {str(path)!r} does not exist (looked in {Path.cwd()})")
    return {task: named.get(task) or _in_folders(task, folders) for task in chosen(list(tasks))}


def _in_folders(task: str, folders: Sequence[Path]) -> Path | None:
    if not folders or not BENCHMARKS[task].hub:
        return None
    for stem in BENCHMARKS[task].files:
        for folder in folders:
            there = [path for path in sorted(folder.iterdir()) if path.suffix in SUFFIXES]
            exact = [path for path in there if path.stem == stem]
            longer = [path for path in there if path.stem.startswith(f"{stem}_") and VALIDATION not in path.stem]
            if len(found := exact or longer) > 1:
                names = ", ".join(path.name for path in found)
                raise ValueError(f"data: {folder} holds several files of {task}: {names}; give one as {task}=PATH")
            if found:
                return found[0]
    names = " or ".join(f"{stem}*.jsonl" for stem in BENCHMARKS[task].files)
    raise ValueError(f"data: no file of {task} in {', '.join(map(str, folders))}; it is called {names}")


def rows(task: str, path: Path | None = None, split: str | None = None) -> tuple[list[dict], str]:
    """(a benchmark's rows as published, the sha256 that names them): of the file's bytes, else of the rows as JSON.

    Errors: FileNotFoundError or ValueError in words, for a file or a hub data set that cannot be read.
    """
    benchmark = BENCHMARKS[task]
    if path is not None:
        found = _file(path)
        return found, hashlib.sha256(path.read_bytes()).hexdigest()
    found = _hub(task, split or benchmark.split) if benchmark.hub else _tinybench()
    if task == "bbeh_mini":
        found = [row for row in found if row.get("mini")]
    return found, hashlib.sha256(json.dumps(found, sort_keys=True, default=str).encode()).hexdigest()


def validation_rows(task: str, path: Path | None) -> list[dict]:
    """The worked examples of a benchmark: its validation split, or the file `TASK_validation` beside `path`."""
    if path is None:
        return rows(task, split="validation")[0]
    beside = [path.with_name(f"{task}{VALIDATION}{suffix}") for suffix in SUFFIXES]
    for file in beside:
        if file.is_file():
            return _file(file)
    raise FileNotFoundError(
        f"data: the stock prompts of {task} show worked examples of its validation split; put them beside "
        f"{path.name} as {beside[0].name}, or leave --data out"
    )


def _file(path: Path) -> list[dict]:
    if path.suffix != ".json":
        return records(path, "data")
    try:
        whole = json.loads(path.read_text(encoding="utf-8"))
        found = whole.get("examples") if isinstance(whole, dict) else whole  # BBEH's files hold {"examples": [...]}
    except ValueError as error:
        raise ValueError(f"data: {path} is not JSON ({error}); give the whole file") from error
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise ValueError(f"data: {path} does not hold a list of objects, one a question")
    return found


def _hub(task: str, split: str) -> list[dict]:
    import datasets

    name, _, config = BENCHMARKS[task].hub.partition(":")
    try:
        return list(datasets.load_dataset(name, config or None, split=split))
    except (OSError, ValueError) as error:
        raise FileNotFoundError(
            f"data: {task} comes from the hub's {name!r}, which cannot be read ({error}); is the network up? With a "
            f"file of the same columns: --data {task}=PATH"
        ) from error


def _tinybench() -> list[dict]:
    from pzlib.evaluate import questions
    from pzlib.tinyfacts import TASKS

    found = []
    for task in TASKS:
        pairs = enumerate(questions(task, TINYBENCH_ITEMS))
        found += [(n, {"task": task, "question": question, "answer": answer}) for n, (question, answer) in pairs]
    return [row for _, row in sorted(found, key=lambda pair: pair[0])]  # the tasks in turn: a limit leaves some of each
