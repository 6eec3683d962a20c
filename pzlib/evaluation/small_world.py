"""Scores of a model on the small world: TinyBench questions, and masked spans by kind.
Left out: the papers' real benchmarks; and every judgement of which score matters, which belongs to a notebook."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence

import torch

from pzlib.engine.sampling import sample
from pzlib.evaluation import Evaluation
from pzlib.masking import Passage, apply_mask
from pzlib.prompts import TINY, parse_boxed, predictor_prompt, question_prompt
from pzlib.rewards import predictor_reward
from pzlib.world import tinywiki
from pzlib.world.facts import GENERAL, MATH, TASKS

THINK, DIRECT = "Think :", "\\boxed{"  # how tinybase's text begins an answer with a reasoning, and one without
MAX_TOKENS = 32
ROWS_AT_ONCE = 1024  # answers: more fall out of a CPU's cache; it changes no answer


def complete(
    model, tokenizer, prompts: list[str], repeats: int = 1, temperature: float = 0.0, seed: int = 0,
    max_tokens: int = MAX_TOKENS, top_p: float = 1.0, max_rows: int = ROWS_AT_ONCE,
):  # fmt: skip
    """Completions of text prompts, prompt-major: `len(prompts) * repeats` texts, and their lengths in tokens."""
    drawn = sample(
        model, tokenizer(prompts)["input_ids"], repeats, max_new_tokens=max_tokens, eos_ids=[tokenizer.eos_token_id],
        pad_id=tokenizer.pad_token_id, temperature=temperature, top_p=top_p, max_rows=max_rows,
        generator=torch.Generator(device=model.device).manual_seed(seed),
    )  # fmt: skip
    texts = tokenizer.batch_decode(drawn.completion_ids, skip_special_tokens=True)
    return texts, [len(ids) for ids in drawn.completion_ids]


def questions(task: str, items: int, seed: int = 0) -> list[tuple[str, str]]:
    """Up to `items` different held-out (question, answer) pairs of a task; fewer where the world has no more.

    >>> questions("sum", 1)
    [('What is 36 plus 16 ?', '52')]
    """
    rng = random.Random(f"tinybench/{task}/{seed}")
    found = {}
    for _ in range(50 * items):
        fact = TASKS[task](rng, True)
        found[fact.question] = fact.answer
        if len(found) == items:
            break
    return list(found.items())


def held_out(world: str, limit: int) -> list[Passage]:
    """`limit` passages of a small world that no run and no base reads: a run's seed is 0 or more, theirs is -1."""
    return tinywiki.passages(world, limit, seed=-1)


def spans(passages: Sequence[Passage], per_kind: int, seed: int = 0) -> list[tuple[str, str, str]]:
    """(kind, masked text, target): up to `per_kind` one-word masks of every kind that labelled passages hold."""
    rng = random.Random(f"spans/{seed}")
    found = defaultdict(list)
    for passage in passages:
        places = list(passage.kinds)
        rng.shuffle(places)
        for start, end, kind in places:
            masked = apply_mask(passage.text, passage.text[start:end])
            if masked is not None and len(found[kind]) < per_kind and found[kind][-1:] != [passage.id]:
                found[kind].append((kind, masked.text, masked.target))
    return [item for kind in sorted(found) for item in found[kind]]


def tinybench(model, tokenizer, items: int = 64, samples: int = 4, seed: int = 0) -> list[dict]:
    """One row per task of TinyBench: mean@`samples` at temperature 1; the columns of a run's eval.csv but `step`.

    `n` counts answers. Sampled and not greedy, because the base reasons in half of its answers: which half the most
    likely answer belongs to is decided by a hair. The questions depend on `items` and `seed` alone, so models are
    compared on the same ones.
    """
    pairs = [(task, *pair) for task in TASKS for pair in questions(task, items, seed)]
    asked = [(task, question_prompt(question, TINY), answer) for task, question, answer in pairs]
    scored = _scored(model, tokenizer, asked, samples, seed)
    return [row(task, "math" if task in MATH else "general", scored[task]) for task in (*GENERAL, *MATH)]


def small_world(items: int) -> Evaluation:
    """TinyBench, and as group "spans" the accuracy on masked words of unseen passages that reasoning can deduce, at
    temperature 1 ("other spans": trivial and irreducible words)."""
    masked = spans(held_out("tinywiki", 400), max(4, items // 4), seed=-1)
    asked = [(tinywiki.kind_class(kind), predictor_prompt(text, TINY), target) for kind, text, target in masked]
    groups = {"reasoning": "spans"}  # of the other classes RL can't and needn't learn anything

    def ask(model, tokenizer, step: int) -> list[dict]:
        scored = _scored(model, tokenizer, asked, repeats=4)
        spans_rows = [row(kind, groups.get(kind, "other spans"), scored[kind]) for kind in sorted(scored)]
        return tinybench(model, tokenizer, items) + spans_rows

    return Evaluation("small_world", ask)


def of_run(run) -> Evaluation:
    """`small_world` with as many questions a task as the run wants."""
    return small_world(run.eval_items)


def _scored(model, tokenizer, asked, repeats: int, seed: int = 0) -> dict[str, list[tuple[float, int, bool]]]:
    """{name: (right, tokens, whether it reasoned) of each answer} of (name, prompt, target) triples."""
    texts, lengths = complete(model, tokenizer, [prompt for _, prompt, _ in asked], repeats, temperature=1.0, seed=seed)
    found = defaultdict(list)
    for i, (text, length) in enumerate(zip(texts, lengths, strict=True)):
        name, _, target = asked[i // repeats]
        found[name].append((predictor_reward(parse_boxed(text), target), length, text.startswith(THINK)))
    return found


def row(task: str, group: str, scored: list[tuple[float, int, bool]]) -> dict:
    """A row of eval.csv but its step: scored holds (right, tokens, whether it reasoned) of each answer."""
    n = len(scored)
    right, length, reasoned = (sum(column) for column in zip(*scored, strict=True))
    accuracy, length, reasoned = round(right / n, 6), round(length / n, 3), round(reasoned / n, 6)
    return dict(task=task, group=group, n=n, correct=int(right), accuracy=accuracy, length=length, reasoned=reasoned)


def span_accuracy(
    model, tokenizer, items: list[tuple[str, str, str]], repeats: int = 8, start: str = "", seed: int = 0
) -> list[tuple[str, int]]:
    """(kind, hits of `repeats`) for every item of `spans`, sampled at temperature 1.

    start: how every answer is made to begin: "" (as it likes), `THINK` or `DIRECT`.
    """
    prompts = [(predictor_prompt(masked, TINY) + " " + start).strip() for _, masked, _ in items]
    texts, _ = complete(model, tokenizer, prompts, repeats, temperature=1.0, seed=seed)
    hits = []
    for i, (kind, _, target) in enumerate(items):
        words = [parse_boxed(f"{start} {text}") for text in texts[i * repeats : (i + 1) * repeats]]
        hits.append((kind, int(sum(predictor_reward(word, target) for word in words))))
    return hits
