"""Stored evaluations: a folder a model and benchmark, with settings, every sample and its scores; made once, resumed.
Leaves out how questions are asked (`pzlib.evaluation.harness`) and graded (`pzlib.evaluation.scores`)."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

import pandas as pd

from pzlib.evaluation import benchmarks, harness, scores
from pzlib.paths import root
from pzlib.runs.folder import write_atomic
from pzlib.verify import MathVerifier

FIRST = ["task", "model", "metric", "n", "k", "score", "low", "high"]  # columns of scores.csv


def home() -> Path:
    """Where evaluations are kept: data/evaluations/<model>/<task>."""
    return root() / "data/evaluations"


def evaluate(
    model: str,
    tasks: Sequence[str],
    protocol: harness.Protocol,
    data: Sequence[str] = (),
    random_option: bool = False,
    output: Path | str | None = None,
    say: Callable[[str], None] = print,
) -> tuple[Path, pd.DataFrame]:
    """(the model's folder of evaluations, its table of scores for `tasks`): what is stored is not asked again.

    model: as `pzlib.evaluation.harness.find` takes it; data: as `pzlib.evaluation.benchmarks.sources`; output: a folder
    in the place of data/evaluations, with a folder a model. A task's folder holds settings.json, samples.jsonl (a
    question a line) and scores.csv (a metric a line), which is written last: killed in between, the same command goes
    on. Errors: ValueError or FileNotFoundError in words, all data being read before a model is loaded.
    """
    if importlib.util.find_spec("lm_eval") is None:
        raise ValueError("tasks: lm-evaluation-harness is not installed; pip install 'pzlib[eval]'")
    tasks = benchmarks.chosen(tasks)
    paths = benchmarks.sources(tasks, data)
    found = harness.find(model)
    folder = (Path(output) if output else home()) / found.label
    jobs = [_Job(task, paths[task], found, protocol, random_option, folder / task) for task in tasks]
    lm, tables = None, []
    with MathVerifier() as verifier:
        for job in jobs:
            if not (job.folder / "scores.csv").exists():
                if not (job.folder / "samples.jsonl").exists():
                    lm = lm or harness.load(found, protocol)
                    if protocol.prompts == "stock" != job.settings["prompts"]:
                        say(f"{job.task}: the harness has no stock prompt for it; asked {job.settings['prompts']}")
                    say(f"{job.task}: {len(job.items)} questions, {job.settings['samples']} answers to each")
                    job.ask(lm)
                job.grade(verifier)
            table = pd.read_csv(job.folder / "scores.csv")
            for line in scores.notices(job.task, table.iloc[0].to_dict()):
                say(line)
            tables.append(table)
    return folder, pd.concat(tables, ignore_index=True)


class _Job:
    """One benchmark for one model, and its folder; refused where that holds one of other settings."""

    def __init__(self, task, path, model, protocol, random_option, folder):
        rows, digest = benchmarks.rows(task, path)
        where = path.name if path else benchmarks.BENCHMARKS[task].hub
        self.task, self.folder, self.protocol = task, folder, protocol
        self.rows, settings = rows[: protocol.limit], protocol.of(task)
        shown = task == "mmlu_pro" and settings["prompts"] == "stock"  # whose worked examples are rows of the data set
        self.examples = benchmarks.validation_rows(task, path) if shown else []
        self.items = benchmarks.items(task, rows, str(path or where))[: protocol.limit]
        self.settings = {
            "task": task, "model": model.label, "revision": model.revision, **settings,
            "random_option": random_option, "data": where or "made here", "data_sha256": digest,
            "lm_eval": metadata.version("lm_eval"),
        }  # fmt: skip
        path = folder / "settings.json"
        was = json.loads(path.read_text()) if path.exists() else self.settings
        other = [name for name in self.settings if was.get(name) != self.settings[name]]
        if other:
            made, now = (", ".join(f"{name} {of.get(name)}" for name in other) for of in (was, self.settings))
            raise ValueError(f"{folder}: made with {made}, now asked with {now}; give another --output, or delete it")

    def ask(self, lm):
        answers = harness.ask(lm, self.task, self.items, self.protocol, self.rows, self.examples)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomic(self.folder / "settings.json", json.dumps(self.settings, indent=1) + "\n")
        self._write(answers)

    def grade(self, verifier):
        answers = [{k: line[k] for k in ("prompt", "completions", "cut")} for line in samples(self.folder)]
        seed = self.settings["seed"] if self.settings["random_option"] else None
        records = scores.mark(self.task, self.items, answers, self.settings["prompts"], verifier, seed)
        self._write(records)
        table = pd.DataFrame([self.settings | row for row in scores.score(records)])
        table = table[FIRST + [name for name in table if name not in FIRST]]
        write_atomic(self.folder / "scores.csv", table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))

    def _write(self, lines):
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        write_atomic(self.folder / "samples.jsonl", text)


def samples(folder: Path | str) -> list[dict]:
    """The stored samples of one task's folder, a question each: see `pzlib.evaluation.scores.mark`."""
    with open(Path(folder) / "samples.jsonl", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def picked(folder: Path | str, each: int = 2, seed: int = 0) -> pd.DataFrame:
    """Completions to look at: up to `each` of every verdict, drawn by `seed`; with id, gold, answer and prompt."""
    rows = []
    for record in samples(folder):
        answers = zip(record["why"], record["answers"], record["completions"], strict=True)
        own = {name: record[name] for name in ("id", "gold", "prompt")}
        rows += [{"why": why, "answer": reply, "completion": text, **own} for why, reply, text in answers]
    table = pd.DataFrame(rows).sample(frac=1, random_state=seed).groupby("why").head(each)
    return table.sort_values("why", kind="stable").reset_index(drop=True)


def compare(ours: Path | str, theirs: Path | str, tasks: Sequence[str] = ()) -> pd.DataFrame:
    """A row a benchmark that both folders of evaluations hold (or of `tasks`): the paired comparison of their answers.

    ours, theirs: folders that `evaluate` made, or names of folders under data/evaluations.
    Errors: FileNotFoundError for a folder or task that is not there, ValueError for other questions or other prompts.
    """
    folders = [path if path.is_dir() else home() / path for path in (Path(ours), Path(theirs))]
    finished = [{path.parent.name for path in folder.glob("*/scores.csv")} for folder in folders]
    for folder, found in zip(folders, finished, strict=True):
        if not found:
            raise FileNotFoundError(f"compare: no finished evaluation in {folder}; `pzlib evaluate` makes one")
    wanted = list(tasks) or [task for task in benchmarks.BENCHMARKS if task in finished[0] & finished[1]]
    if not wanted:
        one, other = (", ".join(sorted(found)) for found in finished)
        raise ValueError(f"compare: no benchmark is in both: {one} and {other}")
    rows = []
    for task in wanted:
        both = [folder / task for folder in folders]
        made = [json.loads((folder / "settings.json").read_text()) for folder in both]
        for name in ("prompts", "chat", "random_option"):
            if made[0][name] != made[1][name]:
                raise ValueError(f"compare: {task} was asked with {name} {made[0][name]} and {made[1][name]}")
        models = {"ours": made[0]["model"], "theirs": made[1]["model"]}
        rows.append({"task": task, **models, **scores.compare(samples(both[0]), samples(both[1]))})
    return pd.DataFrame(rows)
