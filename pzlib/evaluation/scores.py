"""Completions to verdicts, scores and comparisons, stored in a folder a model and benchmark: made once, resumed.
Leaves out how questions are asked (`pzlib.evaluation.harness`) and judging by a language model, which General-Reasoner
does for mathematics (papers.md 1.10)."""

import importlib.util
import json
import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

import pandas as pd

from pzlib.evaluation import benchmarks, harness, prompts_digest, sampling_error
from pzlib.evaluation.benchmarks import BENCHMARKS, LETTERS, Item
from pzlib.paths import root
from pzlib.prompts import parse_boxed
from pzlib.runs.folder import write_atomic
from pzlib.stats import clustered_ci, paired_test, pass_at_k
from pzlib.verify import MathVerifier, bbeh_right, boxed_letter, exact, final_answer, stock_letter

FIRST = ["task", "model", "metric", "n", "k", "score", "low", "high"]  # columns of scores.csv
DRAWN = "random option"  # a `why` beside `pzlib.verify.WHYS`
_STATED = re.compile(r"[Tt]he (?:final )?answer is:?[ \t]*(\S.*?)(?=\.\s|\.?$)", re.MULTILINE)  # to the sentence's end


def answer(task: str, completion: str, style: str, options: int = 0) -> str | None:
    r"""What a completion answers, read as its prompt asked; None where nothing can be read.

    Stock prompts end in "the answer is ..."; the others ask for a box. A multiple choice is a letter among `options`.
    Of the MMLU-Pro authors' three patterns the last is not used: a single letter somewhere is not an answer.

    >>> answer("gsm8k", "Half of 12 is 6. The answer is 6.", "stock"), answer("gsm8k", r"So \boxed{6}", "boxed")
    ('6', '6')
    """
    kind = BENCHMARKS[task].kind
    if kind == "exact":
        return (parse_boxed(completion) or "").strip() or None
    if kind == "letter":
        return stock_letter(completion, options, patterns=2) if style == "stock" else boxed_letter(completion, options)
    if style == "stock":
        found = _STATED.search(completion)  # the first, as the harness reads: what follows may be a next question
        return found and found[1].rstrip()
    return final_answer(completion)


def mark(
    task: str, items: Sequence[Item], asked: Sequence[dict], style: str = "boxed",
    verifier: MathVerifier | None = None, random_option: int | None = None,
) -> list[dict]:  # fmt: skip
    r"""One record a question: its id, key, source, gold, prompt, and for each sample completion, answer, right and why.

    asked: what `pzlib.evaluation.harness.ask` returns; verifier: for mathematics, all answers go to it at once;
    random_option: the seed of a random letter for each completion in which there is none, as General-Reasoner's scripts
    draw it (papers.md 1.11). why: one of `pzlib.verify.WHYS`, or DRAWN.

    >>> from pzlib.evaluation.benchmarks import items
    >>> choices = items("mmlu_pro", [{"question": "Which?", "options": ["this", "that"], "answer": "B"}])
    >>> asked = [{"prompt": "Which? ...", "completions": [r"\boxed{B}", r"\boxed{A}", "Hm."], "cut": False}]
    >>> mark("mmlu_pro", choices, asked)[0]["why"]
    ['right', 'wrong', 'no answer']
    """
    rng = random.Random(f"option/{random_option}")
    found = [[answer(task, completion, style, item.options) for completion in one["completions"]]
             for item, one in zip(items, asked, strict=True)]  # fmt: skip
    pairs = [(item.gold, reply) for item, replies in zip(items, found, strict=True) for reply in replies]
    whys = iter(_whys(BENCHMARKS[task].kind, pairs, verifier))
    records = []
    for item, one, replies in zip(items, asked, found, strict=True):
        why = [next(whys) for _ in replies]
        right = [reason == "right" for reason in why]
        for i, reply in enumerate(replies):
            if reply is None and random_option is not None and item.options and item.gold:
                right[i], why[i] = rng.choice(LETTERS[: item.options]) == item.gold, DRAWN
        own = {"id": item.id, "key": item.key, "source": item.source, "gold": item.gold, "category": item.category}
        records.append(own | one | {"answers": replies, "right": right, "why": why})
    return records


def _whys(kind, pairs, verifier):
    """The verdicts' words on (gold, answer) pairs, either of which may be None."""
    if kind == "math":
        return [one.why for one in verifier.grade([gold or "" for gold, _ in pairs], [reply for _, reply in pairs])]

    def why(gold, reply):
        if reply is None or gold is None:
            return "no answer" if reply is None else "unparsable gold"
        return "right" if (bbeh_right(reply, gold) if kind == "fuzzy" else exact(gold, reply).right) else "wrong"

    return [why(*pair) for pair in pairs]


def score(records: Sequence[dict]) -> list[dict]:
    """Rows of scores: the mean over questions of the share of samples that are right, and with several samples pass@k.

    n: questions, k: samples each; low, high: the 95 % interval by `clustered_ci`; sources: how many sources cluster it
    (null: none do). Of completions: unparsed (no answer in it, or none that is mathematics), drawn (given a random
    option), timeouts (beyond the grader's limits), length (tokens, mean); of questions: unparsable_golds, prompts_cut.
    """
    n, k = len(records), len(records[0]["right"])
    sources = [record["source"] for record in records]
    clusters = sources if all(sources) else None
    whys = Counter(why for record in records for why in record["why"])
    unparsed = sum(reply is None for record in records for reply in record["answers"]) + whys["unparsable answer"]
    shared = {
        "sources": len(set(clusters)) if clusters else None,
        "unparsed": unparsed,
        "unparsed_share": round(unparsed / (n * k), 6),
        "drawn": whys[DRAWN],
        "timeouts": whys["timeout"] + whys["too long"] + whys["crashed"],
        "unparsable_golds": sum(record["gold"] is None or "unparsable gold" in record["why"] for record in records),
        "prompts_cut": sum(record["cut"] for record in records),
        "length": round(sum(sum(record.get("tokens", ())) for record in records) / (n * k), 3),
    }
    hits = [sum(record["right"]) for record in records]
    metrics = {"accuracy" if k == 1 else f"mean@{k}": [c / k for c in hits]}
    metrics |= {f"pass@{m}": [pass_at_k(k, c, m) for c in hits] for m in sorted({min(8, k), k} - {1})}
    rows = []
    for metric, values in metrics.items():
        low, high = clustered_ci(values, clusters)
        rows.append({"metric": metric, "n": n, "k": k, "score": sum(values) / n, "low": low, "high": high, **shared})
    return rows


def paired(ours: Sequence[dict], theirs: Sequence[dict]) -> dict:
    """Whether one model answers the same questions better: {"difference", "low", "high", "p", "n", "sources"}.

    difference: of the means over questions, ours - theirs; interval and p by `paired_test`, which flips the sign of one
    question's difference at a time, or of a whole source's where questions share one (sources: their number).
    Errors: ValueError where the questions are not the same.
    """
    a, b = _by_key(ours), _by_key(theirs)
    if a.keys() != b.keys():
        common = f"{len(a.keys() & b.keys())} questions are common to the {len(a)} of one and the {len(b)} of the other"
        raise ValueError(f"compare: {common}; evaluate both with the same data and limit")
    clustered = all(record["source"] for record in a.values())
    units = {key: record["source"] if clustered else key for key, record in a.items()}
    sums = {unit: [0.0, 0.0] for unit in units.values()}
    for key, unit in units.items():
        for i, right in enumerate((a[key]["right"], b[key]["right"])):
            # Scaled so that the mean over sources is the mean over questions, however large each source is.
            sums[unit][i] += sum(right) / len(right) * len(sums) / len(a)
    test = paired_test(*zip(*sums.values(), strict=True))
    low, high = test["interval"]
    return {"difference": test["difference"], "low": low, "high": high, "p": test["p"], "n": len(a),
            "sources": len(sums) if clustered else None}  # fmt: skip


def _by_key(records):
    """Records by question; a set may ask one twice (MMLU-Pro does), so a key has the number of its occurrence."""
    seen, found = Counter(), {}
    for record in records:
        found[record["key"], seen[record["key"]]] = record
        seen[record["key"]] += 1
    return found


def notices(task: str, row: dict) -> list[str]:
    """What must not be overlooked in a score, a line each.

    >>> notices("gsm8k", {"unparsed": 3, "unparsed_share": 1.0, "n": 3, "k": 1, "score": 0.0})
    ['gsm8k: NOTHING COULD BE PARSED: none of 3 completions gives an answer; the score says nothing of the model']
    """
    asked = row["n"] * row["k"]
    words = {
        "unparsed": f"of {asked} completions give no answer",
        "drawn": "completions without an answer were given a random option",
        "timeouts": "answers went beyond the grader's limits of time or size and count as wrong",
        "unparsable_golds": "golds cannot be read; their questions count as wrong",
        "prompts_cut": "prompts were longer than the model reads and lost their beginning",
    }
    lines = [f"{int(row[name])} {said}" for name, said in words.items() if row.get(name)]
    if row["unparsed_share"] == 1:
        none = f"none of {asked} completions gives an answer"
        lines[0] = f"NOTHING COULD BE PARSED: {none}; the score says nothing of the model"
    return [f"{task}: {line}" for line in lines]


def shown(table: pd.DataFrame) -> str:
    """The columns of a score table that a person reads, as text; percentages."""
    score, low, high = (table[name].mul(100).map("{:.1f}".format) for name in ("score", "low", "high"))
    columns = {"score": score, "interval": "[" + low + ", " + high + "]"}
    columns |= {"unparsed": table["unparsed_share"].map("{:.1%}".format)}
    return table[["task", "metric", "n", "k"]].assign(**columns).to_string(index=False)


def evaluate(
    model: str, tasks: Sequence[str], protocol: harness.Protocol, data: Sequence[str] = (), random_option: bool = False,
    output: Path | str | None = None, say: Callable[[str], None] = print,
) -> tuple[Path, pd.DataFrame]:  # fmt: skip
    """(the model's folder of evaluations, its table of scores for `tasks`): what is stored is not asked again.

    model: as `pzlib.evaluation.harness.find` takes it; data: as `pzlib.evaluation.benchmarks.sources`; output: a folder
    instead of data/evaluations. A task's folder there, <model>/<task>, holds settings.json, samples.jsonl (a
    question per line) and scores.csv (a metric a line), which is written last: killed in between, the same command goes
    on. Errors: ValueError or FileNotFoundError, all data being read before a model is loaded.
    """
    if importlib.util.find_spec("lm_eval") is None:
        raise ValueError("tasks: lm-evaluation-harness is not installed; pip install 'pzlib[eval]'")
    tasks = benchmarks.chosen(tasks)
    paths = benchmarks.sources(tasks, data)
    found = harness.find(model)
    folder = Path(output or root() / "data/evaluations") / found.label
    jobs = [_Job(task, paths[task], found, protocol, random_option, folder / task) for task in tasks]
    lm, tables = None, []
    with MathVerifier() as verifier:
        for job in jobs:
            if not (job.folder / "scores.csv").exists():
                if not (job.folder / "samples.jsonl").exists():
                    lm = lm or harness.load(found, protocol)
                    if protocol.prompts == "stock" != job.settings["prompts"]:
                        say(f"{job.task}: the harness has no stock prompt for it; asked {job.settings['prompts']}")
                    size = BENCHMARKS[job.task].size or 0
                    of = f" of {size}" * (len(job.items) < size)
                    say(f"{job.task}: {len(job.items)}{of} questions, {job.settings['samples']} answers to each")
                    job.ask(lm)
                job.grade(verifier)
            table = pd.read_csv(job.folder / "scores.csv")
            for line in notices(job.task, table.iloc[0].to_dict()):
                say(line)
            tables.append(table)
    return folder, pd.concat(tables, ignore_index=True)


class _Job:
    """One benchmark for one model, and its folder; refused where that holds one of other settings."""

    def __init__(self, task, path, model, protocol, random_option, folder):
        rows, digest = benchmarks.rows(task, path)
        where = path.name if path else BENCHMARKS[task].hub
        self.task, self.folder, self.protocol = task, folder, protocol
        self.rows, settings = rows[: protocol.limit], protocol.of(task)
        whole = BENCHMARKS[task].part_of or task
        # whose worked examples are rows of the data set
        shown = whole == "mmlu_pro" and settings["prompts"] == "stock"
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
        kept = ("prompt", "completions", "tokens", "cut")
        answers = [{name: line[name] for name in kept} for line in samples(self.folder)]
        seed = self.settings["seed"] if self.settings["random_option"] else None
        records = mark(self.task, self.items, answers, self.settings["prompts"], verifier, seed)
        self._write(records)
        table = pd.DataFrame([self.settings | row for row in score(records)])
        table = table[FIRST + [name for name in table if name not in FIRST]]
        write_atomic(self.folder / "scores.csv", table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))

    def _write(self, lines):
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        write_atomic(self.folder / "samples.jsonl", text)


def samples(folder: Path | str) -> list[dict]:
    """The stored samples of one task's folder, a question each, as `mark` made them."""
    with open(Path(folder) / "samples.jsonl", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def rows_of(folder: Path | str, tasks: Sequence[str]) -> list[dict]:
    """What a model's folder of evaluations holds of `tasks`, as rows of the table of scores (EVAL_COLUMNS) but their
    step: a benchmark's accuracy, or its mean over k answers, and that of each category, a task "mmlu_pro, law"; pass@k
    stays in scores.csv."""
    found = []
    for task in tasks:
        first, lines = pd.read_csv(Path(folder) / task / "scores.csv").iloc[0], samples(Path(folder) / task)
        found.append(_row(task, BENCHMARKS[task].group, first, lines))
        parts = {} if BENCHMARKS[task].part_of else _by_category(lines)
        for category, own in sorted(parts.items()):
            found.append(_row(f"{task}, {category.lower()}", f"{task} by category", score(own)[0], own))
    return found


def _by_category(lines):
    """{category: its samples}; of a benchmark without such {}."""
    found = {}
    for line in lines:
        if line["category"]:
            found.setdefault(line["category"], []).append(line)
    return found


def _row(task, group, first, lines):
    """A row of the table of scores, of the first row of scores and the samples it is of."""
    answers = int(first["n"] * first["k"])
    return {
        "task": task, "group": group, "n": answers, "correct": round(first["score"] * answers),
        "accuracy": round(first["score"], 6), "length": float(first["length"]),
        "reasoned": None, "k": int(first["k"]), "low": round(first["low"], 6), "high": round(first["high"], 6),
        "prompts": prompts_digest([line["prompt"], line["gold"]] for line in lines), "length_reasoned": None,
        "error": sampling_error([sum(line["right"]) / len(line["right"]) for line in lines], int(first["k"])),
    }  # fmt: skip


def picked(folder: Path | str, each: int = 2, seed: int = 0) -> pd.DataFrame:
    """Completions to look at: up to `each` of every verdict, drawn by `seed`; with id, gold, answer and prompt."""
    table = pd.DataFrame(samples(folder)).rename(columns={"answers": "answer", "completions": "completion"})
    table = table[["why", "answer", "completion", "id", "gold", "prompt"]].explode(["why", "answer", "completion"])
    table = table.sample(frac=1, random_state=seed).groupby("why").head(each)
    return table.sort_values("why", kind="stable").reset_index(drop=True)


def compare(ours: Path | str, theirs: Path | str, tasks: Sequence[str] = ()) -> pd.DataFrame:
    """A row a benchmark that both folders of evaluations hold (or of `tasks`): the paired comparison of their answers.

    ours, theirs: folders that `evaluate` made, or names of folders under data/evaluations.
    Errors: FileNotFoundError for a folder or task that is not there, ValueError for other questions or other prompts.
    """
    folders = [path if path.is_dir() else root() / "data/evaluations" / path for path in (Path(ours), Path(theirs))]
    finished = {folder: {path.parent.name for path in folder.glob("*/scores.csv")} for folder in folders}
    if empty := [folder for folder, found in finished.items() if not found]:
        raise FileNotFoundError(f"compare: no finished evaluation in {empty[0]}; `pzlib evaluate` makes one")
    wanted = list(tasks) or [task for task in BENCHMARKS if all(task in found for found in finished.values())]
    if not wanted:
        both = " and ".join(", ".join(sorted(found)) for found in finished.values())
        raise ValueError(f"compare: no benchmark is in both: {both}")
    rows = []
    for task in wanted:
        both = [folder / task for folder in folders]
        made = [json.loads((folder / "settings.json").read_text()) for folder in both]
        for name in ("prompts", "chat", "random_option"):
            if made[0][name] != made[1][name]:
                raise ValueError(f"compare: {task} was asked with {name} {made[0][name]} and {made[1][name]}")
        models = {"ours": made[0]["model"], "theirs": made[1]["model"]}
        rows.append({"task": task, **models, **paired(*map(samples, both))})
    return pd.DataFrame(rows)
