"""Any text as passages or problems: drawn in a seeded order, cut at sentence ends, checked, counted and hashed.
Left out: the paper's own filters of Wikipedia (PretrainZero sec. 4.1), which are not given."""

import hashlib
import heapq
import json
import math
import random
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle
from operator import ne
from pathlib import Path
from typing import Self

from tqdm.auto import tqdm

from pzlib.corpus import formats
from pzlib.corpus.cutting import Cutter, normal_form, whole
from pzlib.corpus.formats import Article, Column, Row
from pzlib.corpus.tex import latex
from pzlib.corpus.wiki import wikitext
from pzlib.masking import Passage
from pzlib.prompts import OPENING
from pzlib.world import tinywiki
from pzlib.world.facts import TASKS, reasoned

__all__ = ["Corpus", "Problem", "latex", "load_passages", "load_problems", "wikitext"]

HELD_ARTICLES = 50_000  # held in memory at a time; a larger corpus is read again for the next ones
POOL = 4  # passages are drawn from a pool of this many times `limit`, so that few of them are neighbours
PATIENCE = 1000  # rows without the column that are read before it is called missing

MARKERS = ("[mask]", "\\mask{", OPENING)  # what the game itself writes: passages that hold one are left out
REPORT = (
    "read no_text articles normalised cut unrendered lists torn not_prose too_short too_long duplicates markers "
    "beyond_limit kept"
).split()
PROBLEMS_REPORT = "read no_question no_answer duplicates beyond_limit kept".split()
SMALL_WORLD = "tinybench"  # questions of its training side, whose instances no evaluation asks


@dataclass(frozen=True)
class Corpus(Sequence):
    """The items of a run (Passages or Problems), what became of everything that was read, and a hash of the slice.

    report: of passages: read (records), no_text (records without any), articles (records cut), normalised (paragraphs
    with other forms of characters than `normal_form`), cut (paragraphs that became several pieces); what was dropped:
    unrendered (paragraphs of markup whose print is not known), lists (items of wiki lists), torn (paragraphs that an
    extractor left a hole in), not_prose (headings, sentences left open), too_short and too_long (pieces and sentences),
    duplicates, markers (passages that hold one of MARKERS), beyond_limit (good passages not drawn); kept.
    digest: sha256 of the ids and texts, in order.
    """

    items: tuple = field(repr=False)
    report: dict[str, int]
    digest: str

    def __getitem__(self, index):
        return self.items[index]

    def __len__(self) -> int:
        return len(self.items)

    def joined(self, items, other: Self) -> Self:
        """This corpus and `items`, which were made of `other`: reports added up, both digests in the digest."""
        report = {name: self.report.get(name, 0) + other.report.get(name, 0) for name in self.report | other.report}
        digest = hashlib.sha256(f"{self.digest} {other.digest}".encode()).hexdigest()
        return Corpus((*self.items, *items), report, digest)


def load_passages(
    source, *, tokenizer=None, min_tokens: int = 32, max_tokens: int = 1400, limit: int | None = None, seed: int = 0,
    column: str = "text", title_column: str = "title", id_column: str = "id", split: str = "train",
    config: str | None = None, progress: bool = True,
) -> Corpus:  # fmt: skip
    """Passages of `min_tokens` to `max_tokens` tokens from any text; equal arguments give equal corpora.

    source: a list of strings, dicts or passages; a path to .jsonl, .json, .csv, .txt (blank-line paragraphs), .tex or
    .xml (MediaWiki dump), each also .gz, .bz2 or .xz, or to .parquet; a folder of such files or of a saved data set; a
    hub data set, streamed, as `name` or `name:config`; or "tinywiki", "tinywiki_clean", "tinymath", perhaps with knobs
    turned ("tinywiki:density=0.1,noise=0.9,values=8"). min_tokens, max_tokens: bounds of a passage, in tokens, or words
    where there is no tokenizer. A paragraph within them is a passage as it is; longer ones are cut at sentence ends,
    shorter ones joined with their neighbours of the same section. A sentence longer than `max_tokens` is dropped.
    limit: passages drawn by `seed`; fewer are returned where the source has fewer; None is all of them. column: "a.b"
    is the column of that name or the field b of the column a; a row without it is left out and counted.
    Errors: FileNotFoundError for a path that is not there; ValueError, naming the field, for text that cannot be read,
    a column that no row has, settings out of range, or when no passage is left.

    >>> corpus = load_passages(["One is short. The second is longer."], min_tokens=3, max_tokens=5)
    >>> sorted((p.id, p.text, p.length) for p in corpus)
    [('0.0', 'One is short.', 3), ('0.1', 'The second is longer.', 4)]
    """
    if not 1 <= min_tokens <= max_tokens:
        raise ValueError(f"min_tokens, max_tokens: {min_tokens}..{max_tokens} holds no length; begin at 1 or more")
    if limit is not None and limit < 1:
        raise ValueError(f"corpus_limit: {limit} passages make no corpus; give at least 1, or None for all")
    report: Counter = Counter()
    cutter = Cutter(tokenizer, min_tokens, max_tokens, report)
    if tinywiki.is_world(source):
        if limit is None:
            raise ValueError(f"corpus_limit: {source} is made without end; say how many passages")
        source = tinywiki.passages(source, limit, seed)
    if isinstance(source, Iterator):
        source = list(source)  # it may have to be read more than once
    name = str(source) if isinstance(source, str | Path) else "the list"

    def read() -> Iterator[Article | Passage]:
        report["read"] = report["no_text"] = 0
        text, title, id = (Column(name, "corpus_column") for name in (column, title_column, id_column))
        with _bar(progress, f"reading {name}", " articles") as bar:
            for row in formats.rows(source, "corpus", split, config, seed, tinywiki.WORLDS):
                report["read"] += 1
                bar.update()
                if (article := _article(row, text, title, id)) is not None:
                    yield article
                report["no_text"] += article is None
                if report["read"] == PATIENCE:
                    text.check()
        text.check()
        if not report["read"]:
            raise ValueError(f"corpus: {name} is empty; give a source that holds text")

    articles = read() if formats.is_hub(source) else _in_random_order(read, seed)
    pool, seen, ids = [], set(), Counter()
    total = None if limit is None else POOL * limit
    with _bar(progress, "cutting", " passages", total) as bar:
        for article in articles:
            for passage in _passages(article, cutter, report):
                if passage.text in seen:
                    report["duplicates"] += 1
                    continue
                seen.add(passage.text)
                again = ids[passage.id]  # a source may repeat its ids; a run tells passages apart by them
                ids[passage.id] += 1
                pool.append(replace(passage, id=f"{passage.id}~{again}") if again else passage)
                bar.update()
            if limit is not None and len(pool) >= total and report["articles"] >= min(limit, 1000):
                break
    if not pool:
        raise ValueError(_why_nothing(report, cutter))
    kept = tuple(random.Random(seed).sample(pool, min(limit or len(pool), len(pool))))
    report["kept"], report["beyond_limit"] = len(kept), len(pool) - len(kept)
    digest = hashlib.sha256(json.dumps([[p.id, p.text] for p in kept]).encode()).hexdigest()
    return Corpus(kept, {key: report[key] for key in REPORT}, digest)


def _bar(progress: bool, what: str, unit: str, total: int | None = None) -> tqdm:
    # Quiet for the first second: small corpora show nothing. A notebook keeps every line that it is sent.
    often = 0.1 if sys.stderr.isatty() else 10
    return tqdm(desc=what, unit=unit, total=total, disable=not progress, delay=1, leave=False, mininterval=often)


def _article(row: Row, text: Column, title: Column, id: Column) -> Article | Passage | None:
    """A row as an article; a Passage as it is; None where the row holds no text."""
    if isinstance(row.item, Article | Passage):
        return row.item
    if isinstance(row.item, str):
        return Article(str(row.number), "", row.item)
    found = text.of(row)
    if found is None:
        return None
    if not isinstance(found, str):
        kind = type(found).__name__
        raise ValueError(f"corpus_column: {text.name!r} of {row.where} is {kind}, not text; name another column")
    own = row.number if (own := id.of(row)) is None else own
    return Article(whole(str(own)), normal_form(str(title.of(row) or "")), found)


def _in_random_order(read, seed: int) -> Iterator[Article | Passage]:
    """What `read()` yields, in an order drawn by `seed`; only the first articles of it are held at a time."""
    size, done = HELD_ARTICLES, 0
    while True:
        rng = random.Random(seed)
        drawn = heapq.nsmallest(size, ((rng.random(), n, article) for n, article in enumerate(read())))
        yield from (article for _, _, article in drawn[done:])
        if len(drawn) < size:
            return
        done, size = size, 4 * size


def _passages(article: Article | Passage, cutter: Cutter, report: Counter) -> Iterator[Passage]:
    if isinstance(article, Passage):  # its labelled spans must stay in place: checked, never cut
        report["articles"] += 1
        made = [replace(article, length=cutter.count(article.text))]
    else:
        read = article.split(article.text)
        paragraphs = [normal_form(paragraph) for paragraph in read]
        report["normalised"] += sum(map(ne, read, paragraphs))
        report["articles"] += any(paragraphs)
        pieces = enumerate(cutter.cut(paragraphs))
        made = (Passage(f"{article.id}.{n}", article.title, *piece) for n, piece in pieces)
    for passage in made:
        marked = any(marker in passage.text for marker in MARKERS)
        report["markers"] += marked
        if not marked and cutter.fits(passage.length):
            yield passage


def _why_nothing(report: Counter, cutter: Cutter) -> str:
    short, long, marked = report["too_short"], report["too_long"], report["markers"]
    not_prose = sum(report[name] for name in ("not_prose", "unrendered", "lists", "torn"))
    none = f"no passage has {cutter.low}..{cutter.high} tokens"
    reasons = [
        (short, f"min_tokens: {none}; {short} pieces are shorter, up to {cutter.longest}; lower it"),
        (long, f"max_tokens: {none}; {long} sentences are longer; raise max_tokens"),
        (marked, f"corpus: all {marked} passages hold {', '.join(MARKERS)}, marks of the game; take them out"),
        (not_prose, f"corpus: {not_prose} lines and no whole sentence among them; give running text"),
        (0, f"corpus: none of {report['read']} records holds text; name another corpus or corpus_column"),
    ]
    return max(reasons, key=lambda reason: reason[0])[1]


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
    `name` or `name:config`; or SMALL_WORLD, with questions of the tasks of TinyBench, none of them its own.
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
    if isinstance(source, str) and source == SMALL_WORLD:
        if limit is None:
            raise ValueError(f"corpus_limit: {source} is made without end; say how many problems")
        return _corpus(_small_world(limit, seed, bool(solution_column)), dict.fromkeys(PROBLEMS_REPORT, 0))
    asked = Column(question_column, "question_column")
    gold = Column(solution_column or answer_column, "solution_column" if solution_column else "answer_column")
    report, found = dict.fromkeys(PROBLEMS_REPORT, 0), {}
    for n, row in enumerate(formats.rows(source, "corpus", split, config, worlds=[SMALL_WORLD])):
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
        counts = ", ".join(f"{report[name]} {name}" for name in PROBLEMS_REPORT[:4])
        where = str(source) if isinstance(source, str | Path) else "the list"
        raise ValueError(f"corpus: no problem is left of {where} ({counts}); check the two columns")
    kept = random.Random(seed).sample(list(found.values()), min(limit or len(found), len(found)))
    report["beyond_limit"] = len(found) - len(kept)
    return _corpus(kept, report)


def _corpus(problems: list[Problem], report: dict[str, int]) -> Corpus:
    told = json.dumps([[p.id, p.question, p.answer, *([p.solution] if p.solution else [])] for p in problems])
    return Corpus(tuple(problems), report | {"kept": len(problems)}, hashlib.sha256(told.encode()).hexdigest())


def _small_world(limit: int, seed: int, solved: bool) -> list[Problem]:
    """Up to `limit` different questions, the tasks in turn; fewer where the world has no more."""
    name, found = tinywiki.seeding(SMALL_WORLD), {}
    rng = random.Random(f"problems/{name}/{seed}")
    for n, make in zip(range(50 * limit), cycle(TASKS.values()), strict=False):
        fact = make(rng, "train")
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
