"""RPT's easy, medium and hard positions of held-out text: next tokens predicted after a reasoning, and outright.
Left out: held-out text of real corpora, which a caller brings; the paper kept 200 OmniMATH samples back."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch

from pzlib import tinywiki
from pzlib.evaluate import MAX_TOKENS, THINK, complete, row, small_world
from pzlib.models import load
from pzlib.nexttoken import Target, entropies, target_at, token_offsets, uncertain
from pzlib.rpt import predicted, verdict
from pzlib.rpttemplates import rpt_prompt
from pzlib.run import Run

THRESHOLDS = {"easy": 0.5, "medium": 1.0, "hard": 1.5}  # nats of top-16 entropy at least; nested (RPT sec. 4.1)
REASONING, DIRECT = "next token", "next token, direct"  # their groups in eval.csv
TEXTS, EACH = 64, 4  # held-out passages of a world, and positions of each, for 64 questions a task of TinyBench
SAMPLES = 4  # answers to each position


@dataclass(frozen=True)
class Position:
    """A Target, the number and the token ids of its text, and how uncertain the scorer is there, in nats."""

    target: Target
    text: int
    ids: tuple[int, ...]
    nats: float

    def splits(self) -> list[str]:
        """The splits it belongs to: a hard position is a medium and an easy one too."""
        return [name for name, threshold in THRESHOLDS.items() if self.nats >= threshold]


def held_out(
    scorer, tokenizer, texts: Sequence[str], each: int, min_context: int, top: int = 16, seed: int = 0
) -> list[Position]:
    """Up to `each` random positions of every text at which `scorer` has at least the entropy of the easy split.

    Text by text. Raises ValueError where there is none at all.
    """
    rng, found = random.Random(f"splits/{seed}"), []
    ids, offsets = token_offsets(tokenizer, list(texts))
    for number, (text, own, nats) in enumerate(zip(texts, offsets, entropies(scorer, ids, top), strict=True)):
        places = uncertain(own, nats, min_context, THRESHOLDS["easy"])
        for place in sorted(rng.sample(places, min(each, len(places)))):
            target = target_at(text, own, place)
            found.append(Position(target, number, tuple(ids[number]), nats[target.first]))
    if not found:
        raise ValueError(
            f"texts: no token of {len(texts)} has {min_context} tokens before it and an entropy of "
            f"{THRESHOLDS['easy']} nats; give more text, or a lower min_context"
        )
    return found


@torch.no_grad()
def outright(model, positions: Sequence[Position]) -> list[bool]:
    """Whether the most likely next token is the true one at each position, on the bare text: the standard prediction.

    positions: those of one text together, as `held_out` gives them.
    """
    training, found = model.training, []
    model.eval()
    try:
        for _, here in groupby(positions, key=lambda position: position.text):
            here = list(here)
            read = torch.tensor([here[0].ids[: max(p.target.first for p in here)]], device=model.device)
            best = model(input_ids=read, use_cache=False).logits[0].argmax(-1).tolist()
            found += [best[p.target.first - 1] == p.ids[p.target.first] for p in here]
    finally:
        model.train(training)
    return found


def rows(
    positions: Sequence[Position], said: Sequence[str], lengths: Sequence[int], direct: Sequence[bool], template: str
) -> list[dict]:
    """The rows of eval.csv but their step: of every split that has positions one with and one without reasoning.

    said, lengths: completions and their tokens, equally many to each position in their order; right is a prediction
    that RPT's prefix matching accepts. direct: what `outright` gave.
    """
    scored: dict[tuple[str, str], list] = {}
    repeats = len(said) // len(positions)
    for i, position in enumerate(positions):
        answers = []
        for text, length in zip(*(part[i * repeats : (i + 1) * repeats] for part in (said, lengths)), strict=True):
            right = verdict(text, predicted(text, template), position.target) == "right"
            answers.append((float(right), length, text.startswith(THINK)))
        for split in position.splits():
            scored.setdefault((f"{REASONING}, {split}", REASONING), []).extend(answers)
            scored.setdefault((f"{REASONING}, {split}, direct", DIRECT), []).append((float(direct[i]), 1, False))
    return [row(*names, found) for names, found in scored.items()]


def next_tokens(
    scorer, tokenizer, texts: Sequence[str], each: int, min_context: int, template: str, version: str = "v0",
    max_tokens: int = MAX_TOKENS,
):  # fmt: skip
    """An `evaluate` for `pzlib.train.train`: `rows` of held-out texts, `SAMPLES` answers at temperature 1 to each
    position. Errors: as `held_out`; ValueError, when asked, for a model of another tokenizer than the scorer's."""
    positions = held_out(scorer, tokenizer, texts, each, min_context)
    prompts = [rpt_prompt(position.target.context, template, version) for position in positions]
    words = tokenizer.get_vocab()

    def evaluate(model, tokenizer, step: int) -> list[dict]:
        if tokenizer.get_vocab() != words:
            raise ValueError("model: has another tokenizer than the scorer, whose tokens the positions are")
        said, lengths = complete(model, tokenizer, prompts, SAMPLES, 1.0, max_tokens=max_tokens)
        return rows(positions, said, lengths, outright(model, positions), template)

    return evaluate


def evaluation_of(run: Run):
    """What a run is asked along training: `small_world`, and for RPT the next tokens of unseen passages of its world.

    The scorer is the shipped base whatever the run starts from, so that every run is asked the same. None for
    other templates than tiny: there is no small world to ask about.
    """
    if run.template != "tiny":
        return None
    common = small_world(run.eval_items)
    if run.objective != "rpt":
        return common
    world = run.corpus if tinywiki.is_world(run.corpus) else "tinywiki"
    texts = [passage.text for passage in tinywiki.passages(world, TEXTS * run.eval_items // 64 or 1, seed=-1)]
    own = next_tokens(*load(Run(tier="mini")), texts, EACH, run.min_context, run.template)

    def evaluate(model, tokenizer, step: int) -> list[dict]:
        return common(model, tokenizer, step) + own(model, tokenizer, step)

    return evaluate
