"""From completions to verdicts, scores and comparisons: what was answered, whether it is right, how sure the mean is.
Leaves out judging by a language model, which General-Reasoner does for mathematics (papers.md 1.10)."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence

import pandas as pd

from pzlib.evaluation.benchmarks import BENCHMARKS, LETTERS, Item
from pzlib.prompts import parse_boxed
from pzlib.stats import clustered_ci, paired_test, pass_at_k
from pzlib.verify import MathVerifier, Verdict, bbeh_right, boxed_letter, exact, final_answer, stock_letter

DRAWN = "random option"  # a `why` beside `pzlib.verify.WHYS`
_STATED = re.compile(r"[Tt]he (?:final )?answer is:?[ \t]*(\S.*?)(?=\.\s|\.?$)", re.MULTILINE)  # to the sentence's end


def answer(task: str, completion: str, style: str, options: int = 0) -> str | None:
    r"""What a completion answers, read as its prompt asked; None where nothing can be read.

    Stock prompts end in "the answer is ..."; the others ask for a box. A multiple choice is a letter among `options`.
    Of the MMLU-Pro authors' three patterns the last is not used: a letter that stands alone somewhere is no answer.

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
    task: str,
    items: Sequence[Item],
    asked: Sequence[dict],
    style: str = "boxed",
    verifier: MathVerifier | None = None,
    random_option: int | None = None,
) -> list[dict]:
    r"""One record a question: its id, key, source, gold, prompt, and for each sample completion, answer, right and why.

    asked: what `pzlib.evaluation.harness.ask` returns; verifier: needed by the benchmarks of mathematics, all of whose
    answers go to it at once; random_option: the seed of a random letter for each completion in which there is none, as
    General-Reasoner's scripts draw it (papers.md 1.11), None for none. why: one of `pzlib.verify.WHYS`, or DRAWN.

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
    verdicts = iter(_verdicts(BENCHMARKS[task].kind, pairs, verifier))
    records = []
    for item, one, replies in zip(items, asked, found, strict=True):
        marks = [next(verdicts) for _ in replies]
        right, why = [verdict.right for verdict in marks], [verdict.why for verdict in marks]
        for i, reply in enumerate(replies):
            if reply is None and random_option is not None and item.options and item.gold:
                right[i], why[i] = rng.choice(LETTERS[: item.options]) == item.gold, DRAWN
        own = {"id": item.id, "key": item.key, "source": item.source, "gold": item.gold}
        records.append(own | one | {"answers": replies, "right": right, "why": why})
    return records


def _verdicts(kind: str, pairs: list[tuple[str | None, str | None]], verifier: MathVerifier | None) -> list[Verdict]:
    if kind == "math":
        return verifier.grade([gold or "" for gold, _ in pairs], [reply for _, reply in pairs])
    right = {
        "letter": lambda gold, reply: reply == gold,
        "fuzzy": lambda gold, reply: bbeh_right(reply, gold),
        "exact": lambda gold, reply: exact(gold, reply).right,
    }[kind]
    verdicts = []
    for gold, reply in pairs:
        why = "no answer" if reply is None else "unparsable gold" if gold is None else None
        why = why or ("right" if right(gold, reply) else "wrong")
        verdicts.append(Verdict(why == "right", why))
    return verdicts


def score(records: Sequence[dict]) -> list[dict]:
    """Rows of scores: the mean over questions of the share of samples that are right, and with several samples pass@k.

    n: questions, k: samples each; low, high: the 95 % interval by `clustered_ci`, sources: how many sources cluster it
    (null: each question stands alone). Of completions: unparsed (no answer in it, or none that is mathematics), drawn
    (given a random option), timeouts (beyond the grader's limits of time or size); of questions: unparsable_golds,
    prompts_cut.
    """
    n, k = len(records), len(records[0]["right"])
    clusters = [record["source"] for record in records]
    clusters = clusters if all(clusters) else None
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
    }
    hits = [sum(record["right"]) for record in records]
    metrics = {"accuracy" if k == 1 else f"mean@{k}": [c / k for c in hits]}
    for draws in sorted({min(8, k), k} - {1}):
        metrics[f"pass@{draws}"] = [pass_at_k(k, c, draws) for c in hits]
    rows = []
    for metric, values in metrics.items():
        low, high = clustered_ci(values, clusters)
        rows.append({"metric": metric, "n": n, "k": k, "score": sum(values) / n, "low": low, "high": high, **shared})
    return rows


def compare(ours: Sequence[dict], theirs: Sequence[dict]) -> dict:
    """Whether one model answers the same questions better than another: {"difference", "low", "high", "p", "n"}.

    difference: of the means over questions, ours - theirs; interval and p by `paired_test`, which flips the sign of one
    question's difference at a time, or of a whole source's where questions share one (sources: their number).
    Errors: ValueError where the questions are not the same, or asked in another way.
    """
    a, b = _by_key(ours), _by_key(theirs)
    if a.keys() != b.keys():
        raise ValueError(
            f"compare: {len(a.keys() & b.keys())} questions are common to the {len(a)} of one and the {len(b)} of the "
            "other; evaluate both with the same data and limit"
        )
    clustered = all(record["source"] for record in a.values())
    sums = {record["source"] if clustered else key: [0.0, 0.0] for key, record in a.items()}
    for key, record in a.items():
        pair = sums[record["source"] if clustered else key]
        for i, one in enumerate((record, b[key])):
            # Scaled so that the mean over sources is the mean over questions, however large each source is.
            pair[i] += sum(one["right"]) / len(one["right"]) * len(sums) / len(a)
    test = paired_test(*zip(*sums.values(), strict=True))
    low, high = test["interval"]
    found = {"difference": test["difference"], "low": low, "high": high, "p": test["p"], "n": len(a)}
    return found | {"sources": len(sums) if clustered else None}


def _by_key(records: Sequence[dict]) -> dict[tuple[str, int], dict]:
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
        why = f"none of {asked} completions gives an answer; the score says nothing of the model"
        lines[0] = f"NOTHING COULD BE PARSED: {why}"
    return [f"{task}: {line}" for line in lines]


def shown(table: pd.DataFrame) -> str:
    """The columns of a score table that a person reads, as text; percentages."""
    percent = table[["score", "low", "high"]] * 100
    columns = table[["task", "metric", "n", "k"]].assign(
        score=percent["score"].map("{:.1f}".format),
        interval=[f"[{low:.1f}, {high:.1f}]" for low, high in zip(percent["low"], percent["high"], strict=True)],
        unparsed=table["unparsed_share"].map("{:.1%}".format),
    )
    return columns.to_string(index=False)
