"""Patterns of reasoning as tables: shares of responses with intervals, by source or run, and paired comparisons.
Left out: models of variance between seeds and cases together; each is tested on its own."""

from __future__ import annotations

import random
import re
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from pzlib.evaluation.cases import answers, from_episodes, held_out_cases, lined_up, models_of
from pzlib.paths import root
from pzlib.prompts import parse_boxed
from pzlib.run import Run
from pzlib.runs.folder import RunFolder
from pzlib.stats import bootstrap_ci, holm, paired_test, wilson
from pzlib.studies import queue
from pzlib.studies.results import folder_of, merge

# RPT (arXiv:2506.08007), Table 9, word for word.
KEYWORDS = {
    "transition": ("alternatively", "think differently"),
    "reflection": ("wait", "initial answer", "original answer", "looking back", "thought process"),
    "breakdown": ("break down", "break this down"),
    "hypothesis": ("probably", "something like"),
    "divergent thinking": (
        "etc.", "or something", "either", "sometimes it refers", "otherwise", "exploring", "options",
    ),
    "deduction": ("summarize", "conclusion", "conclude", "finally", "logically", "consequently"),
}  # fmt: skip

STRUCTURE = ("numbered steps", "bold steps", "restates", "direct guess", "thinks", "no answer")
PATTERNS = (*KEYWORDS, *STRUCTURE)  # of a response: yes or no
AMOUNTS = ("restated", "words")  # of a response: how much
THINK = ("Think :", "<think>")  # how a reasoning is announced: by tinybase, and by reasoning models
STEPS = 2  # lines that begin as a step before a response counts as written in steps
FEW = 5  # words: an answer with fewer before it is a guess
RUN = 5  # words in a row that must be the prompt's to count as restated
BOX = "\\boxed"
RULES = ("largest gain", "largest loss", "largest change in structure", "random")  # by which cases are chosen

_NUMBERED = re.compile(r"^[#>*_\- \t]*(?:step[ \t]+\d{1,2}\b|\d{1,2}[.)](?=[\s*]))", re.IGNORECASE | re.MULTILINE)
_BOLD = re.compile(r"^[#>\-\d.) \t]*\*\*(?=[^\s*])[^*\n]{1,200}\*\*", re.MULTILINE)


_PHRASES = ["|".join(r"\s+".join(map(re.escape, word.split())) for word in words) for words in KEYWORDS.values()]
_GROUPS = [re.compile(rf"(?<!\w)(?:{phrases})(?!\w)", re.IGNORECASE) for phrases in _PHRASES]


def keywords_in(text: str) -> Counter[str]:
    """How often each keyword of RPT's Table 9 occurs in `text`.

    Case is ignored, words must be whole (no letter, digit or underscore beside them: "neither", "waiting" and
    "breakdown" do not count, nor does "concludes"), and the blanks within a phrase may be any white space. The dot
    belongs to "etc.". The paper states none of this (its Table 9 gives the words only).

    >>> keywords_in("Wait, WAIT! Neither waits. We break\\n this down, either way, etc.")
    Counter({'wait': 2, 'break this down': 1, 'either': 1, 'etc.': 1})
    """
    return Counter(" ".join(word.lower().split()) for pattern in _GROUPS for word in pattern.findall(text))


def structure(completion: str, prompt: str | None = None, answer: str = BOX) -> dict:
    """The structural marks of one completion.

    * numbered steps, bold steps: at least two lines begin with a number and a dot or bracket, or "Step 3", or with bold
      words; list and heading signs may be before it (PretrainZero's Fig. 8 shows five bold steps);
    * restated: share of the prompt's different runs of five words (letters and digits, case ignored) that occur in the
      completion too, None without a prompt of five words; restates: at least half of them (Random RLPT "rewrites the
      passage", Fig. 8);
    * direct guess: fewer than five words are before the first `answer`, the text that opens an answer;
    * thinks: it begins with an announced reasoning, "Think :" or "<think>";
    * no answer: no box closes, or where `answer` is another text, that it does not occur;
    * words: length, in pieces between blanks.

    >>> marks = structure("**1. Look.** It is held on Friday two days after. **2. So:** \\\\boxed{Friday}")
    >>> marks["bold steps"], marks["direct guess"], marks["words"]  # both steps stand on one line
    (False, False, 13)
    >>> structure("The answer is \\\\boxed{Friday}", "The market is held on a Friday")["direct guess"]
    True
    """
    before, found, _ = completion.partition(answer)
    asked = _runs(prompt or "")
    restated = len(asked & _runs(completion)) / len(asked) if asked else None
    return {
        "numbered steps": len(_NUMBERED.findall(completion)) >= STEPS,
        "bold steps": len(_BOLD.findall(completion)) >= STEPS,
        "restated": restated,
        "restates": None if restated is None else restated >= 0.5,
        "direct guess": bool(found) and len(before.split()) < FEW,
        "thinks": completion.lstrip().startswith(THINK),
        "no answer": parse_boxed(completion) is None if answer == BOX else not found,
        "words": len(completion.split()),
    }


def _runs(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return set(zip(*(words[i:] for i in range(RUN)), strict=False))


def measured(table: pd.DataFrame, answer: str = BOX) -> pd.DataFrame:
    """A table of completions (`pzlib.evaluation.cases`) with a column for each of `PATTERNS` and of `AMOUNTS`.

    Errors: ValueError where there is no column `completion`.
    """
    if "completion" not in table:
        raise ValueError(f"completions: 'completion' is not a column; it has {list(table.columns)}")
    prompts = table["prompt"] if "prompt" in table else [None] * len(table)
    rows = []
    for said, prompt in zip(table["completion"], prompts, strict=True):
        found = keywords_in(said)
        groups = {group: any(word in found for word in words) for group, words in KEYWORDS.items()}
        rows.append(groups | structure(said, prompt if isinstance(prompt, str) else None, answer))
    marks = pd.DataFrame(rows, columns=[*PATTERNS, *AMOUNTS], index=table.index).astype(float)
    return pd.concat([table, marks], axis=1)


def keyword_counts(table: pd.DataFrame) -> pd.DataFrame:
    """How many completions of each source hold each keyword: a row per group and keyword, a column a source."""
    names = [(group, word) for group, words in KEYWORDS.items() for word in words]
    held = pd.DataFrame([keywords_in(said) for said in table["completion"]], index=table["source"]).notna()
    counted = held.groupby(level="source", sort=False).sum().T.reindex([word for _, word in names], fill_value=0)
    return counted.set_axis(pd.MultiIndex.from_tuples(names, names=["group", "keyword"]))


def means(table: pd.DataFrame, by: list[str], columns: tuple[str, ...] = (*PATTERNS, *AMOUNTS)) -> pd.DataFrame:
    """Mean of each column with its 95 % interval: a row per group of `by` and column, with n, cases, mean, low, high.

    table: of `measured`, with a column `case`. The mean of a pattern is the share of responses that have it, and its
    interval Wilson's. Responses to one case are alike, so that is taken at their effective number (the
    variance between cases decides, Korn & Graubard 1998), and where none or all have the pattern at the number of
    cases. The interval of an amount is a bootstrap over the means of cases. Unknown values (restates without a
    prompt) are not in n.

    >>> rows = {"source": "a", "case": ["p", "p", "q", "q"], "words": [3.0, 5.0, 4.0, 4.0]}
    >>> means(pd.DataFrame(rows), ["source"], ("words",)).to_dict("records")
    [{'source': 'a', 'pattern': 'words', 'n': 4, 'cases': 2, 'mean': 4.0, 'low': 4.0, 'high': 4.0}]
    """
    rows = []
    for key, group in table.groupby(by, sort=False, dropna=False):
        for column in columns:
            known = group.dropna(subset=column)
            if len(known):
                values, cases = known[column], known["case"]
                if column in PATTERNS:
                    low, high = _interval_of_share(values, cases)
                else:
                    low, high = bootstrap_ci(values.groupby(cases).mean())
                rows.append((*key, column, len(known), cases.nunique(), float(values.mean()), low, high))
    return pd.DataFrame(rows, columns=[*by, "pattern", "n", "cases", "mean", "low", "high"])


def _interval_of_share(values: pd.Series, cases: pd.Series) -> tuple[float, float]:
    n, m, share = len(values), cases.nunique(), float(values.mean())
    effective = m
    if 0 < share < 1:
        apart = (values - share).groupby(cases).sum()
        variance = float((apart**2).sum()) / n**2 * m / max(1, m - 1)
        # At least 1: a lone case tells nothing of others. At most n, which a variance of 0 would exceed.
        effective = max(1.0, share * (1 - share) / max(variance, share * (1 - share) / n))
    return wilson(share * effective, effective)


def by_run(table: pd.DataFrame, arms) -> pd.DataFrame:
    """What data/results/patterns.csv holds: `means` of every run's answers, and at step 0 of the base's with its seed.

    table: of `answered`; arms: (arm, Run) pairs, as `pzlib.studies.arms_of` gives; one whose run gave no answers has no
    rows.
    """
    parts = []
    for arm, run in arms:
        own = table[table["seed"].eq(run.seed) & table["arm"].isin([arm, "base"])]
        if arm in set(own["source"]):
            parts.append(own.assign(run_id=run.run_id, objective=run.objective, tier=run.tier))
    keys = ["run_id", "objective", "tier", "seed", "step"]
    return means(pd.concat(parts or [table[:0]]), keys, (*PATTERNS, *AMOUNTS, "right"))


def store(kept: pd.DataFrame, tier: str) -> None:
    """Bring `by_run`'s table into patterns.csv of a tier. Rows of other runs stay: their models may be gone."""
    path = folder_of(tier) / "patterns.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    merge(path, [kept], ["step", "pattern"])


def compare(table: pd.DataFrame, first: str, second: str, patterns=PATTERNS, over: str = "case") -> pd.DataFrame:
    """What `second` has more than `first` of each pattern, by paired tests over cases or over seeds.

    table: of `measured`, with columns source and `over`; each case (or seed) that both sources have counts once, by its
    mean over all else. Over cases the question is whether *these* models differ on other passages; over
    seeds, whether the *methods* would on other runs. p is from sign flips (`stats.paired_test`), `p (Holm)` is adjusted
    for the number of patterns that differ anywhere; the others have no test.
    Errors: ValueError where nothing is shared.
    """
    sides = [table[table["source"] == name].groupby(over)[list(patterns)].mean() for name in (first, second)]
    common = sides[0].index.intersection(sides[1].index)
    if common.empty:
        raise ValueError(f"{over}: {first!r} and {second!r} have no {over} in common; line them up first")
    rows = []
    for pattern in patterns:
        a, b = pd.concat([side.loc[common, pattern] for side in sides], axis=1).dropna().to_numpy().T
        if not len(a):
            continue
        row = {"pattern": pattern, first: a.mean(), second: b.mean(), "n": len(a)}
        if (a != b).any():
            test = paired_test(b, a)
            row |= dict(zip(("low", "high"), test["interval"], strict=True)) | {k: test[k] for k in ("difference", "p")}
        rows.append(row)
    found = pd.DataFrame(rows).reindex(columns=["pattern", first, second, "difference", "low", "high", "p", "n"])
    tested = found["p"].notna()
    found.loc[tested, "p (Holm)"] = holm(found.loc[tested, "p"]) if tested.any() else None
    return found.set_index("pattern")


def changes(table: pd.DataFrame, first: str, second: str) -> pd.DataFrame:
    """By case, what changes from source `first` to `second`: columns accuracy (difference) and structure (distance).

    table: `measured`. accuracy: share of right answers, second minus first, null where not judged. structure: the mean
    of seven differences in [0, 1]: of the share of answers with each structural mark, and of the mean numbers of words,
    divided by the longer. Errors: ValueError where the two share no case.
    """
    rows = lined_up(table, [first, second])
    if rows.empty:
        raise ValueError(f"case: {first!r} and {second!r} have no case in common; ask both the same passages")
    means = rows.groupby(["case", "source"], sort=False)[["right", *STRUCTURE, "words"]].mean().unstack("source")
    before, after = (means.xs(name, axis=1, level="source") for name in (first, second))
    apart = (after - before).abs()[list(STRUCTURE)]
    longer = np.maximum(after["words"], before["words"])
    apart["words"] = ((after["words"] - before["words"]).abs() / longer).fillna(0.0)  # two empty answers are alike
    return pd.DataFrame({"accuracy": after["right"] - before["right"], "structure": apart.mean(axis=1)})


def chosen(changed: pd.DataFrame, n: int = 2, seed: int = 0) -> dict[str, list[str]]:
    """Up to `n` cases by each of `RULES`: {rule: case ids}; no case twice, the rules take turns in their order.

    changed: `changes`. Of equal changes the one that a shuffle by `seed` puts first is taken; a gain or loss of 0 is
    none, so a rule may find fewer than `n`.

    >>> changed = pd.DataFrame({"accuracy": [0.5, -1.0, 0.0], "structure": [0.1, 0.2, 0.9]}, index=["a", "b", "c"])
    >>> chosen(changed, n=1)
    {'largest gain': ['a'], 'largest loss': ['b'], 'largest change in structure': ['c'], 'random': []}
    """
    order = list(changed.index)
    random.Random(f"cases/{seed}").shuffle(order)
    gain, structure = (changed.loc[order, name] for name in ("accuracy", "structure"))
    ranked = (
        gain[gain > 0].sort_values(ascending=False, kind="stable"),
        gain[gain < 0].sort_values(kind="stable"),
        structure[structure > 0].sort_values(ascending=False, kind="stable"),
        gain,
    )
    found = {rule: [] for rule in RULES}
    for _ in range(n):
        for rule, cases in zip(RULES, ranked, strict=True):
            taken = sum(found.values(), [])
            found[rule] += [case for case in cases.index if case not in taken][:1]
    return found


def answers_of(tier: str) -> Path:
    """The folder where the answers of a tier's models are kept."""
    return root() / "data/runs/answers" / tier


def _can_answer(run, tier) -> bool:
    return (run.folder / "model").is_dir() or (answers_of(tier) / f"{run.run_id}.jsonl").exists()


def remade(arms, tier: str, jobs: int) -> None:
    """Make again, `jobs` at a time, the runs of (arm, run) pairs whose models and answers are both gone."""
    gone = [run for _, run in arms if not _can_answer(run, tier)]
    if gone and jobs:
        with tempfile.TemporaryDirectory() as scratch:
            queue.play(gone, jobs, results=scratch)


class Asked(NamedTuple):
    """A model that answers: its arm or "base", the steps that it was trained, a Run that starts from it, and the name
    of the file that keeps its answers."""

    arm: str
    step: int
    run: Run
    file: str


def models_asked(arms, pair, tier: str) -> dict[tuple[str, int], Asked]:
    """{(source, seed): Asked} of what can answer: each seed's base, every arm's last model and, of the arms in `pair`,
    the model nearest to half of the run that is kept (source "ARM, step N")."""
    made = [(arm, run) for arm, run in arms if _can_answer(run, tier)]
    found = {("base", run.seed): Asked("base", 0, run, f"base-s{run.seed}") for _, run in made}
    for arm, run in made:
        models = models_of(run)
        middle = min(models, key=lambda step: abs(step - run.steps / 2))
        if middle < run.steps and arm in pair:
            found[f"{arm}, step {middle}", run.seed] = Asked(arm, middle, models[middle], f"{run.run_id}-{middle}")
        found[arm, run.seed] = Asked(arm, run.steps, models[run.steps], run.run_id)
    return found


def answered(models: dict, arms, tier: str, per_kind: int, samples: int) -> pd.DataFrame:
    """The `measured` answers of `models_asked` to the same held-out masked passages, kept in data/runs/answers; a line
    is printed for a model that is not there."""
    tables, cases = [], held_out_cases([run for _, run in arms], per_kind) if models else None
    for (source, seed), (arm, step, run, file) in models.items():
        try:
            kept = answers_of(tier) / f"{file}.jsonl"
            tables.append(answers(run, cases, kept, source=source, step=step, samples=samples).assign(arm=arm))
        except FileNotFoundError as error:
            print(f"{source}, seed {seed}, is not asked: {str(error).splitlines()[0]}")
    return measured(pd.concat(tables, ignore_index=True)) if tables else pd.DataFrame(columns=["source"])


def along(arms) -> pd.DataFrame:
    """Marks of what runs predicted while they trained, mean over seeds, at five of their stored steps. "words,
    reasoned" is the length of the answers that announce a reasoning, which alone compares where more and more do."""
    parts, marks = [], ["direct guess", "thinks", "no answer", "words", "words, reasoned", "right"]
    for arm, run in arms:
        folder = RunFolder(run.folder)
        stored = folder.episode_steps()
        some = sorted({stored[place * (len(stored) - 1) // 4] for place in range(5)}) if stored else []
        parts += [measured(from_episodes(folder, arm, some))] if some else []
    if not parts:
        return pd.DataFrame(columns=marks)
    rows = pd.concat(parts)
    rows["words, reasoned"] = rows["words"].where(rows["thinks"].astype(bool))
    means = rows.groupby(["source", "seed", "step"], sort=False)[marks].mean()
    return means.groupby(["source", "step"], sort=False).mean()
