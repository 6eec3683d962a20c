"""Next-token targets: where a passage can be cut, and how uncertain a model is there, for two passive baselines.
Left out: RPT's top-16 renormalised entropy and its thresholds; PretrainZero names only a top fifth."""

from __future__ import annotations

import copy
import math
import random
from dataclasses import replace

import torch

from pzlib.masking import MaskedPassage
from pzlib.models import load

TOP_SHARE = 0.2  # of the positions, by entropy (PretrainZero sec. 3.1)


def cut(text: str, start: int, end: int) -> MaskedPassage:
    """The passage truncated before the token text[start:end], which is the target, without the spaces around it.

    >>> cut("It was old .", 6, 10)
    MaskedPassage(text='It was', target='old', count=1, span_starts=(7,))
    """
    target = text[start:end]
    lead = len(target) - len(target.lstrip())
    return MaskedPassage(text[:start].rstrip(), target.strip(), 1, (start + lead,))


def positions(text: str, offsets: list[tuple[int, int]], min_context: int) -> list[int]:
    """The tokens that can be a target: those with `min_context` tokens before them that are whole, visible text.

    offsets: (start, end) characters of each token. A token that shares a character with its neighbour is one part of
    it (bytes of an emoji), and can't be written in a box.

    >>> positions("It was old .", [(0, 2), (2, 6), (6, 10), (10, 12)], min_context=2)
    [2, 3]
    """
    found = []
    for i, (start, end) in enumerate(offsets):
        alone = (i == 0 or offsets[i - 1][1] <= start) and (i + 1 == len(offsets) or end <= offsets[i + 1][0])
        if i >= min_context and alone and text[start:end].strip():
            found.append(i)
    return found


def highest(places: list[int], entropies: list[float], share: float = TOP_SHARE) -> list[int]:
    """Those of `places` whose entropy is in the top `share`, at least one, in their order.

    >>> highest([1, 2, 3, 4, 5, 6], [9.0, 0.1, 2.0, 0.3, 0.4, 1.0, 0.2])
    [2, 5]
    """
    ranked = sorted(places, key=lambda i: -entropies[i])[: math.ceil(share * len(places))]
    return sorted(ranked)


def draw_cuts(text: str, offsets, min_context: int, rng: random.Random, count: int, entropies=None) -> list:
    """`count` MaskedPassages cut at random positions; with `entropies` at random among the most uncertain fifth.

    None for each where no token can be a target.
    """
    places = positions(text, offsets, min_context)
    if entropies is not None and places:
        places = highest(places, entropies)
    return [cut(text, *offsets[rng.choice(places)]) if places else None for _ in range(count)]


def token_offsets(tokenizer, texts: list[str]) -> tuple[list, list]:
    """(token ids, character offsets) of each text, no special tokens. ValueError for a tokenizer without offsets."""
    if not tokenizer.is_fast:
        raise ValueError("model: next-token targets need a fast tokenizer, this one gives no character offsets")
    encoded = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)
    return encoded["input_ids"], encoded["offset_mapping"]


@torch.no_grad()
def entropies(model, ids: list[list[int]]) -> list[list[float]]:
    """For each text and token the entropy in nats of what `model` expects there; infinite at the first token.

    Full softmax; the text alone is read, with no prompt around it.
    """
    training, found = model.training, []
    model.eval()
    try:
        for tokens in ids:  # passages differ in length, and a step has few: no padding to reason about
            logits = model(input_ids=torch.tensor([tokens], device=model.device), use_cache=False).logits[0, :-1]
            logp = logits.float().log_softmax(-1)  # (T - 1, V)
            found.append([math.inf, *(-(logp.exp() * logp).sum(-1)).tolist()])
    finally:
        model.train(training)
    return found


def frozen_scorer(run, model, tokenizer):
    """The model whose entropies choose targets, where that is not the policy: a copy of the base, or a proxy.

    None for `entropy_model` "policy" and for other objectives. Raises ValueError for a proxy of another tokenizer: its
    positions would be other ones.
    """
    if run.objective != "entropy_next_token" or run.entropy_model == "policy":
        return None
    if run.entropy_model == "base":
        return copy.deepcopy(model).requires_grad_(False).eval()
    proxy, other = load(replace(run, model=run.entropy_model))
    if other.get_vocab() != tokenizer.get_vocab():
        raise ValueError(f"entropy_model: {run.entropy_model!r} has another tokenizer than model {run.model!r}")
    return proxy.requires_grad_(False).eval()
