"""Benchmarks as published: where their rows come from, what the columns mean, and the prompts and golds made of them.
Leaves out how a model is asked (`pzlib.evaluation.harness`) and graded (`pzlib.evaluation.scores`)."""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path

from pzlib.corpus import formats
from pzlib.corpus.formats import records
from pzlib.errors import near_names
from pzlib.prompts import PAPER, TINY, parse_boxed, question_prompt

LETTERS = "ABCDEFGHIJ"
SUFFIXES = (".jsonl", ".json", ".parquet")
VALIDATION = "_validation"  # ends the name of a file with worked examples, which are never the questions
# What a curve along training asks: a fixed tenth of MMLU-Pro, as PretrainZero's Fig. 7c (which tenth is not stated).
CURVE, PART, PART_SEED = "mmlu_pro_tenth", 0.1, 0
TINYBENCH_ITEMS = 64  # questions a task, as many as a run of the small world is asked

# General-Reasoner's words for a multiple choice, verbatim (papers.md 1.11); for an open answer they are PAPER.question.
LETTER_SUFFIX = (
    "Please reason step by step, and put your final answer option within \\boxed{}. "
    "Only put the option letter in the box, e.g. \\boxed{A}. There is only one correct answer."
)


@dataclass(frozen=True)
class Item:
    """One question with what counts as right; `key` tells questions apart, whichever model is asked."""

    id: str
    source: str  # what it shares with others; "": nothing
    question: str
    options: int  # how many choices; 0: an open answer
    gold: str | None  # None where the row holds none that can be read, which is counted and scored as wrong
    category: str = field(default="", repr=False)  # of the subject, where the benchmark has such

    @property
    def key(self) -> str:
        return hashlib.sha256(f"{self.question}\n{self.gold}".encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Benchmark:
    """A benchmark as published: the data set on the hub, its columns, how it is scored."""

    kind: str  # letter (a multiple choice), math (math-verify), fuzzy (BBEH's own comparison) or exact (equal words)
    hub: str  # "name" or "name:config"; "" where it is made here
    question: tuple[str, ...]  # columns, of which the first that is there counts
    gold: dict[str, Callable[[object], str | None]]  # the same, with what reads the column
    split: str = "test"
    source: tuple[str, ...] = ()  # columns, as of question
    samples: int = 1  # answers a question, by the papers' protocol
    file: str = ""  # how the name of a local file may begin beside the benchmark's own
    group: str = "other"  # of the table of scores: "general" and "math" are the means of PretrainZero's Tables 1 and 2
    part_of: str = ""  # the benchmark of whose questions it is a fixed tenth
    category: tuple[str, ...] = ()  # column of the subject, by which RPT's Tables 6 and 7 list scores
    size: int | None = None  # questions of the split on the hub; None: not known, or made here


def _plain(value: object) -> str | None:
    """A gold as it is; AMC's whole floats as integers, OlympiadBench's list of one as its only item.

    >>> _plain(27.0), _plain(["$2$"]), _plain("025"), _plain(None)
    ('27', '$2$', '025', None)
    """
    if value is None or value != value:  # pandas writes NaN for none
        return None
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    return str(int(value) if isinstance(value, float) and value.is_integer() else value).strip() or None


def _boxed(solution: object) -> str | None:
    return (parse_boxed(str(solution)) or "").strip() or None


def _after_hashes(answer: object) -> str | None:
    """GSM8K's gold, which is what follows the last "####".

    >>> _after_hashes("Two and 1,200 make it. #### 1,202"), _after_hashes("1,202")
    ('1202', None)
    """
    _, marks, gold = str(answer).rpartition("####")
    return (gold.strip().replace(",", "") or None) if marks else None


def _letter(value: object) -> str | None:
    """The letter of "C", or of General-Reasoner's "C. the third option"."""
    found = re.fullmatch(r"([A-J])(?:[.:)]\s.*)?", str(value).strip(), re.DOTALL)
    return found and found[1]


_MATH = dict(kind="math", question=("problem", "question"), gold={"answer": _plain}, group="math")
_MMLU_PRO = dict(kind="letter", hub="TIGER-Lab/MMLU-Pro", question=("question",), gold={"answer": _letter},
                 source=("src",), group="general", category=("category",), size=12_032)  # fmt: skip
# RLP's sets, whose hub names, columns and splits are those of lm-evaluation-harness. Its GPQA scores are multiples of
# 1/198, so its subset is diamond (inferred). "1of4": four answers at temperature 1, RLP's @1[4].
_MMLU = Benchmark("letter", "cais/mmlu:all", ("question",), {"answer": _letter}, size=14_042)
_GPQA = Benchmark("letter", "Idavidrein/gpqa:gpqa_diamond", ("question",), {"answer": _letter}, "train", size=198)

# What shares a source, and so clusters the interval: MMLU-Pro's questions from one textbook or exam (`src`), BBEH's
# from one task's template, Minerva's from one course. A topic (MATH-500's subject, SuperGPQA's field) is no source.
BENCHMARKS = {
    "mmlu_pro": Benchmark(**_MMLU_PRO),
    "supergpqa": Benchmark("letter", "m-a-p/SuperGPQA", ("question",), {"answer_letter": _letter, "answer": _letter},
                           "train", group="general", category=("discipline",), size=26_529),
    "bbeh": Benchmark("fuzzy", "BBEH/bbeh", ("input", "question"), {"target": _plain, "answer": _plain}, "train",
                      ("task",), file="mini", group="general", size=4_520),
    "math500": Benchmark(**_MATH, hub="HuggingFaceH4/MATH-500", size=500),
    "gsm8k": Benchmark(**_MATH | {"gold": {"answer": _after_hashes}}, hub="openai/gsm8k:main", size=1_319),
    "aime24": Benchmark(**_MATH, hub="HuggingFaceH4/aime_2024", split="train", samples=32, size=30),
    "amc23": Benchmark(**_MATH, hub="math-ai/amc23", samples=32, size=40),
    "minerva": Benchmark(**_MATH | {"gold": {"answer": _plain, "solution": _boxed}}, hub="math-ai/minervamath",
                         source=("type",), size=272),
    "olympiadbench": Benchmark(**_MATH | {"gold": {"final_answer": _plain, "answer": _plain}}, split="train",
                               hub="Hothan/OlympiadBench:OE_TO_maths_en_COMP"),
    # PretrainZero has it not
    "aime25": Benchmark(**_MATH | {"group": "other"}, hub="math-ai/aime25", samples=32, size=30),
    CURVE: Benchmark(**_MMLU_PRO | {"size": None}, file="mmlu_pro", part_of="mmlu_pro"),
    "mmlu": _MMLU, "gpqa": _GPQA, "mmlu_1of4": replace(_MMLU, file="mmlu", samples=4),
    "gpqa_1of4": replace(_GPQA, file="gpqa", samples=4),
    "mmlu_pro_1of4": Benchmark(**_MMLU_PRO | {"group": "other", "category": ()}, file="mmlu_pro", samples=4),
    "tinybench": Benchmark("exact", "", ("question",), {"answer": _plain}, samples=4),
}  # fmt: skip

PAPERS = tuple(BENCHMARKS)[:10]  # `--tasks all`: the papers' nine, and AIME25


def chosen(names: Sequence[str]) -> list[str]:
    """The benchmarks that are asked for, each once; "all" stands for the papers' ten.

    >>> chosen(["gsm8k,math500", "gsm8k"])
    ['gsm8k', 'math500']
    >>> chosen(["gsm9k"])
    Traceback (most recent call last):
    ValueError: tasks: no benchmark 'gsm9k'; did you mean gsm8k?
    """
    found = [name for given in names for name in given.split(",") if name]
    for name in found:
        if name not in BENCHMARKS and name != "all":
            raise ValueError(f"tasks: no benchmark {name!r}; {near_names(name, [*BENCHMARKS, 'all'])}")
    if not found:
        raise ValueError(f"tasks: none given; name some of {', '.join(BENCHMARKS)}, or all")
    return list(dict.fromkeys(part for name in found for part in (PAPERS if name == "all" else (name,))))


def _choices(row: dict) -> dict:
    """A row of MMLU or GPQA in the columns of MMLU-Pro. GPQA's answers are listed in an order drawn by a hash.

    >>> _choices({"question": "Which?", "choices": ["this", "that"], "answer": 1})["answer"]
    'B'
    """
    if "Correct Answer" in row:
        texts = [str(row[name]).strip() for name in ("Correct Answer", *(f"Incorrect Answer {n}" for n in (1, 2, 3)))]
        listed = sorted(texts, key=lambda text: hashlib.sha256(f"{row['Question']} {text}".encode()).hexdigest())
        return {"question": row["Question"], "options": listed, "answer": LETTERS[listed.index(texts[0])]}
    if "choices" in row and "options" not in row:
        right = row.get("answer")
        return row | {"options": list(row["choices"]), "answer": LETTERS[right] if isinstance(right, int) else right}
    return row


def items(name: str, rows: Sequence[dict], where: str = "the rows") -> list[Item]:
    """The questions of a benchmark's published rows, in their order.

    Errors: ValueError naming the column that is not there, and when no gold at all can be read.

    >>> items("amc23", [{"id": 7, "problem": "What is 3 x 9?", "answer": 27.0}])
    [Item(id='7', source='', question='What is 3 x 9?', options=0, gold='27')]
    >>> items("minerva", [{"problem": "?", "answr": "1"}], "minerva.jsonl")
    Traceback (most recent call last):
    ValueError: data: minerva.jsonl has no column answer or solution, which minerva needs; it has problem, answr
    """
    benchmark = BENCHMARKS[name]
    rows = [_choices(row) for row in rows] if benchmark.kind == "letter" else rows
    has = dict.fromkeys(key for row in rows for key in row)
    if not rows:
        raise ValueError(f"data: {where} holds no question of {name}")

    def column(wanted, needed=True):
        there = next((own for own in wanted if own in has), None)
        if needed and there is None:
            needs = f"{' or '.join(wanted)}, which {name} needs"
            raise ValueError(f"data: {where} has no column {needs}; it has {', '.join(has)}")
        return there

    question, gold, source = column(benchmark.question), column(benchmark.gold), column(benchmark.source, False)
    category = column(benchmark.category, False)
    number = column(("id", "unique_id", "question_id", "uuid"), False)
    found = []
    for n, row in enumerate(rows):
        text, options = row.get(question), row.get("options") or []
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"data: row {n} of {where} has no text in {question!r}; correct or leave out that row")
        right = benchmark.gold[gold](row.get(gold))
        if benchmark.kind == "letter":
            if options:  # as General-Reasoner lists them; a question without this column holds its own
                listed = (f"({letter}): {option}\n" for letter, option in zip(LETTERS, options, strict=False))
                text = f"{text}\nOptions are:\n{''.join(listed)}"
            right = right if right and right in LETTERS[: len(options) or None] else None
        elif row.get("context"):  # OlympiadBench's, of a few problems
            text = f"{row['context']}\n{text}"
        choices = (len(options) or len(LETTERS)) if benchmark.kind == "letter" else 0
        own = str(n if row.get(number) is None else row[number])
        found.append(Item(own, str(row.get(source) or ""), text, choices, right, str(row.get(category) or "")))
    if all(item.gold is None for item in found):
        raise ValueError(f"data: no gold of {name} can be read in the column {gold!r} of {where}; is it another set?")
    return found


def prompt(name: str, item: Item, style: str = "boxed") -> str:
    r"""What a model reads: "boxed" is General-Reasoner's zero-shot request, "tiny" the small world's cue.

    For BBEH General-Reasoner's exact words are not known to us; it is asked like a problem of mathematics.

    >>> rows = [{"question": "Which?", "options": ["this", "that"], "answer": "B"}]
    >>> print(prompt("mmlu_pro", items("mmlu_pro", rows)[0]))
    Which?
    Options are:
    (A): this
    (B): that
    <BLANKLINE>
    <BLANKLINE>
    Please reason step by step, and put your final answer option within \boxed{}. Only put the option letter in the box,
    e.g. \boxed{A}. There is only one correct answer.
    """
    if style == "tiny":
        return question_prompt(item.question, TINY)
    if BENCHMARKS[name].kind == "letter":
        return f"{item.question}\n\n{LETTER_SUFFIX}"
    return question_prompt(item.question, PAPER)


def sources(tasks: Sequence[str], data: Sequence[str] = ()) -> dict[str, Path | None]:
    """The local file of each task, None for the hub, by what `--data` was given: folders, or task=path.

    In a folder a task's file is the one whose name begins as the task does: `gsm8k_test.jsonl` is gsm8k's.
    Errors: ValueError for a task that was not asked for, a folder without a task's file, or with several.
    """
    pairs = {given: given.split("=", 1) for given in data if given.partition("=")[0] in BENCHMARKS and "=" in given}
    named = {task: Path(path).expanduser() for task, path in pairs.values()}
    folders = [Path(given).expanduser() for given in data if given not in pairs]
    if other := [task for task in named if task not in tasks]:
        raise ValueError(f"data: {other[0]} is not among the tasks {', '.join(tasks)}; add it, or leave its data out")
    for path in (*named.values(), *folders):
        if not path.exists():
            raise FileNotFoundError(f"data: {str(path)!r} does not exist (looked in {Path.cwd()})")
    return {task: named.get(task) or _in_folders(task, folders) for task in chosen(list(tasks))}


def _in_folders(task: str, folders: Sequence[Path]) -> Path | None:
    if not folders or not BENCHMARKS[task].hub:
        return None
    stems = [stem for stem in (task, BENCHMARKS[task].file) if stem]
    for stem, folder in product(stems, folders):
        there = [path for path in sorted(folder.iterdir()) if path.suffix in SUFFIXES]
        exact = [path for path in there if path.stem == stem]
        others = (name for name in BENCHMARKS if name.startswith(f"{stem}_"))  # MMLU-Pro's files are not MMLU's
        others = tuple(name for name in others if BENCHMARKS[name].hub != BENCHMARKS[task].hub)
        longer = [path for path in there if path.stem.startswith(f"{stem}_") and VALIDATION not in path.stem]
        longer = [path for path in longer if not path.stem.startswith(others)]
        if len(found := exact or longer) > 1:
            names = ", ".join(path.name for path in found)
            raise ValueError(f"data: {folder} holds several files of {task}: {names}; give one as {task}=PATH")
        if found:
            return found[0]
    names = " or ".join(f"{stem}*.jsonl" for stem in stems)
    raise ValueError(f"data: no file of {task} in {', '.join(map(str, folders))}; it is called {names}")


def rows(task: str, path: Path | None = None, split: str | None = None) -> tuple[list[dict], str]:
    """(a benchmark's rows as published, the sha256 that names them): of the file's bytes, else of the rows as JSON.

    Of a part of a benchmark they are its own rows, and the digest is of them as JSON.

    Errors: those of `pzlib.corpus.formats.rows`, for a file or a hub data set that cannot be read.
    """
    if BENCHMARKS[task].part_of:
        found = part(rows(BENCHMARKS[task].part_of, path, split)[0])
        return found, hashlib.sha256(json.dumps(found, sort_keys=True, default=str).encode()).hexdigest()
    if path is not None:
        return records(path, "data"), hashlib.sha256(path.read_bytes()).hexdigest()
    hub, split = BENCHMARKS[task].hub, split or BENCHMARKS[task].split
    found = [row.item for row in formats.rows(hub, "data", split)] if hub else _tinybench()
    return found, hashlib.sha256(json.dumps(found, sort_keys=True, default=str).encode()).hexdigest()


def part(rows: Sequence[dict], share: float = PART, seed: int = PART_SEED) -> list[dict]:
    """A fixed share of a benchmark's rows, category by category, in their order; of each category at least one.

    Which ones is decided by a seeded hash of each question, so it does not depend on the order of a file.

    >>> rows = [{"category": "law" if n < 20 else "math", "question": f"{n}?"} for n in range(50)]
    >>> [row["category"] for row in part(rows)], part(rows[::-1])[::-1] == part(rows)
    (['law', 'law', 'math', 'math', 'math'], True)
    """
    ranked = {}
    for n, row in enumerate(rows):
        asked = json.dumps([seed, row.get("question"), list(row.get("options") or [])])
        rank = hashlib.sha256(asked.encode()).hexdigest()
        ranked.setdefault(row.get("category"), []).append((rank, n))
    kept = {n for own in ranked.values() for _, n in sorted(own)[: max(1, round(share * len(own)))]}
    return [row for n, row in enumerate(rows) if n in kept]


def validation_rows(task: str, path: Path | None) -> list[dict]:
    """The worked examples of a benchmark: its validation split, or the file `TASK_validation` beside `path`."""
    task = BENCHMARKS[task].part_of or task
    if path is None:
        return rows(task, split="validation")[0]
    return records(path.with_name(f"{task}{VALIDATION}{path.suffix}"), "data")


def _tinybench() -> list[dict]:
    """The questions of the small world, its tasks in turn: a limit leaves some of each."""
    from pzlib.world.facts import TASKS
    from pzlib.world.tinywiki import exam

    pairs = [(n, fact) for task in TASKS for n, fact in enumerate(exam(task, TINYBENCH_ITEMS))]
    pairs.sort(key=lambda pair: pair[0])
    return [{"task": fact.task, "question": fact.question, "answer": fact.answer} for _, fact in pairs]
