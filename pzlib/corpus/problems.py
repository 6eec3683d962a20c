"""Problem sets to problems: any rows with a question and an answer column, of a file, a data set or a list.
Left out: what is asked of an answer (`objectives.rlvr`) and benchmarks, on which nobody trains."""

import hashlib
import json
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from pzlib.corpus import formats
from pzlib.corpus.cutting import normal_form
from pzlib.corpus.formats import Column
from pzlib.corpus.passages import Corpus
from pzlib.world.facts import TASKS, reasoned
from pzlib.world.second import TASKS_2

# The training side of TinyBench, whose instances no evaluation asks: name -> (tasks, side) of either world.
SMALL_WORLDS = {"tinybench": (TASKS, False), "tinybench2": (TASKS_2, "train")}
REPORT = "read no_question no_answer duplicates beyond_limit kept".split()


@dataclass(frozen=True)
class Problem:
    """A question with its gold answer; kind: the small world's task, or "problem"; solution: worked out, "" if not
    asked for."""

    id: str
    question: str
    answer: str
    kind: str = "problem"
    solution: str = ""


def load_problems(
    source: str | Path | Sequence[dict], *, question_column: str = "question", answer_column: str = "answer",
    solution_column: str | None = None, limit: int | None = None, seed: int = 0, config: str | None = None,
    split: str = "train",
) -> Corpus:  # fmt: skip
    """Problems of any set, drawn by `seed`; equal arguments give equal Corpora (whose items are Problems).

    source: dicts; a file with named columns or a folder of them, as `load_passages` reads them; a hub data set, as
    `name` or `name:config`; or a name of SMALL_WORLDS, with questions of the tasks of TinyBench, none of them its own.
    question_column, answer_column: "a.b" is the column of that name or the field b of the column a. A question may be a
    chat in which a user says one thing; an answer a number, a list of one, or a working that ends with "#### 5".
    solution_column: None for problems without their solutions; else a row needs a solution and no answer.
    report: read, no_question and no_answer (rows left out for want of one, or of a solution), duplicates (of a
    question), beyond_limit, kept.
    Errors: FileNotFoundError for a path that is not there; ValueError, naming the field, for a set that cannot be read,
    a column that no row has, or when no problem is left.

    >>> rows = [{"problem": "What is 2 + 3?", "gold": {"value": 5}}]
    >>> load_problems(rows, question_column="problem", answer_column="gold.value")[0]
    Problem(id='0', question='What is 2 + 3?', answer='5', kind='problem', solution='')
    """
    if limit is not None and limit < 1:
        raise ValueError(f"corpus_limit: {limit} problems make no set; give at least 1, or None for all")
    if isinstance(source, str) and source in SMALL_WORLDS:
        if limit is None:
            raise ValueError(f"corpus_limit: {source} is made without end; say how many problems")
        return _corpus(_small_world(source, limit, seed, bool(solution_column)), dict.fromkeys(REPORT, 0))
    asked = Column(question_column, "question_column")
    gold = Column(solution_column or answer_column, "solution_column" if solution_column else "answer_column")
    report, found = dict.fromkeys(REPORT, 0), {}
    for n, row in enumerate(formats.rows(source, "corpus", split, config, worlds=list(SMALL_WORLDS))):
        report["read"] += 1
        question, answer = _question(asked.of(row)), _plain(gold.of(row))
        if answer and not solution_column:
            answer = answer.rpartition("####")[2].strip() or None  # as GSM8K ends its answers
        if not question or not answer or question in found:
            report["no_question" if not question else "no_answer" if not answer else "duplicates"] += 1
        else:
            pair = {"answer": "", "solution": answer} if solution_column else {"answer": answer}
            found[question] = Problem(str(n), question, **pair)
    asked.check()
    gold.check()
    if not found:
        counts = ", ".join(f"{report[name]} {name}" for name in REPORT[:4])
        where = str(source) if isinstance(source, str | Path) else "the list"
        raise ValueError(f"corpus: no problem is left of {where} ({counts}); check the two columns")
    kept = random.Random(seed).sample(list(found.values()), min(limit or len(found), len(found)))
    report["beyond_limit"] = len(found) - len(kept)
    return _corpus(kept, report)


def _corpus(problems: list[Problem], report: dict[str, int]) -> Corpus:
    told = json.dumps([[p.id, p.question, p.answer, *([p.solution] if p.solution else [])] for p in problems])
    return Corpus(tuple(problems), report | {"kept": len(problems)}, hashlib.sha256(told.encode()).hexdigest())


def _small_world(name: str, limit: int, seed: int, solved: bool) -> list[Problem]:
    """Up to `limit` different questions, the tasks in turn; fewer where the world has no more."""
    (tasks, side), found = SMALL_WORLDS[name], {}
    rng = random.Random(f"problems/{seed}" if name == "tinybench" else f"problems/{name}/{seed}")
    for n, make in zip(range(50 * limit), cycle(tasks.values()), strict=False):
        fact = make(rng, side)
        solution = reasoned(fact.reason, fact.answer) if solved else ""
        problem = Problem(f"{name}-{seed}-{n}", fact.question, fact.answer, fact.task, solution)
        found.setdefault(fact.question, problem)
        if len(found) == limit:
            break
    return list(found.values())


def _question(value) -> str | None:
    """A question as text: of a chat, what its one user says; None for none."""
    if isinstance(value, list | tuple) and all(isinstance(turn, dict) for turn in value):
        asked = [turn for turn in value if turn.get("role", turn.get("from")) in {"user", "human"}]
        value = asked[0].get("content", asked[0].get("value")) if len(asked) == 1 else None
        if isinstance(value, list | tuple):  # parts, of which an image cannot be asked
            value = "".join(part.get("text") or "" for part in value) if all("text" in part for part in value) else None
    return normal_form(value).strip() or None if isinstance(value, str) else None


def _plain(answer) -> str | None:
    """An answer as a string: of a list of one its only item, of a whole float the integer; None for none."""
    if isinstance(answer, list | tuple) and len(answer) == 1:
        answer = answer[0]
    if isinstance(answer, float):
        if not math.isfinite(answer):  # as pandas writes what is missing
            return None
        answer = int(answer) if answer.is_integer() else answer
    if isinstance(answer, bool) or not isinstance(answer, str | int | float):
        return None
    return normal_form(str(answer)).strip() or None
