"""Targets in a passage: where it can be cut before a token, whose entropy ranks those places, what describes one.
RPT's training threshold and the model PretrainZero ranks by are not stated, so both are settings."""

import copy
import math
import random
from dataclasses import dataclass, replace
from itertools import accumulate

from pzlib.masking import MaskedPassage, fits_a_box
from pzlib.words import kind_of

TOP_SHARE = 0.2  # of the positions, by entropy (PretrainZero sec. 3.1)


def facts_of(passage, masked: MaskedPassage, **other) -> dict:
    """The columns of an episode that describe what it asks for; `other` replaces some of them."""
    kind, place = kind_of(passage.text, passage.kinds, masked), round(masked.span_starts[0] / len(passage.text), 4)
    return {"mask": masked.target, "legal": True, "count": masked.count, "kind": kind, "position": place} | other


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


def highest(places: list[int], entropies: list[float]) -> list[int]:
    """Those of `places` whose entropy is in the top fifth, at least one, in their order.

    >>> highest([1, 2, 3, 4, 5, 6], [9.0, 0.1, 2.0, 0.3, 0.4, 1.0, 0.2])
    [2, 5]
    """
    return sorted(sorted(places, key=lambda i: -entropies[i])[: math.ceil(TOP_SHARE * len(places))])


def draw_cuts(text: str, offsets, min_context: int, rng: random.Random, count: int, entropies=None) -> list:
    """`count` MaskedPassages cut at random positions, or None each where no token can be a target; with `entropies` at
    random among the most uncertain fifth."""
    places = [i for i in positions(text, offsets, min_context) if fits_a_box(text[slice(*offsets[i])].strip())]
    if entropies is not None and places:
        places = highest(places, entropies)
    return [cut(text, *offsets[rng.choice(places)]) if places else None for _ in range(count)]


@dataclass(frozen=True)
class Target:
    """One position of a passage as RPT asks for it."""

    context: str  # everything before a token
    continuation: str  # everything from it on
    token: str  # the true next one, with the spaces that belong to it
    boundaries: frozenset[int]  # cumulative lengths of the tokens from here on in bytes of UTF-8, RPT's L_gt
    start: int  # its place in the passage, in characters
    first: int  # and in tokens


def pieces(offsets: list[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """(first token, start, end in characters) of each smallest stretch of a text that whole tokens make up.

    offsets: (start, end) characters of each token. As a rule a stretch is one token. Tokens that share a character are
    one: a boundary inside a character is none that text can reach. Space that belongs to no token (some tokenizers trim
    it, a word-level one splits there) goes with the token after it, as it does where a tokenizer keeps it.

    >>> pieces([(0, 2), (3, 6), (6, 7), (6, 7)])  # "It was" and an emoji in two tokens
    [(0, 0, 2), (1, 2, 6), (2, 6, 7)]
    """
    found, first, start = [], 0, 0
    for i, (_, end) in enumerate(offsets):
        if i + 1 == len(offsets) or end <= offsets[i + 1][0]:
            if end > start:
                found.append((first, start, end))
            first, start = i + 1, max(start, end)
    return found


def target_at(text: str, offsets: list[tuple[int, int]], place: int) -> Target:
    """The Target of the piece number `place`.

    >>> target = target_at("It was old .", [(0, 2), (3, 6), (7, 10), (11, 12)], 2)
    >>> target.context, target.token, target.continuation, sorted(target.boundaries)
    ('It was', ' old', ' old .', [4, 6])
    """
    rest = pieces(offsets)[place:]
    first, start, end = rest[0]
    boundaries = accumulate(len(text[s:e].encode("utf-8", "surrogatepass")) for _, s, e in rest)
    return Target(text[:start], text[start:], text[start:end], frozenset(boundaries), start, first)


def uncertain(offsets, nats: list[float], min_context: int, threshold: float) -> list[int]:
    """The numbers of the pieces with `min_context` tokens before them and an entropy of `threshold` on (RPT sec. 3.3).

    nats: of each token, as `entropies` gives them; a piece goes by its first token. Without enough context every token
    looks uncertain, whatever the text.

    >>> uncertain([(0, 2), (3, 6), (7, 10), (11, 12)], [9.0, 2.0, 0.4, 0.6], min_context=2, threshold=0.5)
    [3]
    """
    starts = [first for first, _, _ in pieces(offsets)]
    return [place for place, first in enumerate(starts) if first >= min_context and nats[first] >= threshold]


def token_offsets(tokenizer, texts: list[str], start: bool = True) -> tuple[list, list]:
    """(token ids, character offsets) of each text, which begins as a prompt does: with the start token, at (0, 0), if
    the tokenizer has one. start: False for a piece that goes on from another. ValueError without offsets."""
    if not tokenizer.is_fast:
        raise ValueError("model: next-token targets need a fast tokenizer, this one gives no character offsets")
    if not texts:
        return [], []
    encoded = tokenizer(texts, add_special_tokens=start, return_offsets_mapping=True)
    return encoded["input_ids"], encoded["offset_mapping"]


def frozen_scorer(run, model, tokenizer):
    """The model whose entropies choose targets, a copy of the base or a proxy; None where that is the policy.

    Raises ValueError for a proxy of another tokenizer: its positions would be other ones.
    """
    from pzlib.engine.models import load

    if model is None or run.entropy_model == "policy":
        return None
    if run.entropy_model == "base":
        return copy.deepcopy(model).requires_grad_(False).eval()
    proxy, other = load(replace(run, model=run.entropy_model))
    if other.get_vocab() != tokenizer.get_vocab():
        raise ValueError(f"entropy_model: {run.entropy_model!r} has another tokenizer than model {run.model!r}")
    return proxy.requires_grad_(False).eval()


class ByEntropy:
    """For methods whose positions are chosen by entropy: that of the policy, or of a frozen `entropy_model`."""

    def __init__(self, run, items, tokenizer, folder=None, model=None):
        super().__init__(run, items, tokenizer, folder, model)
        self.scorer = frozen_scorer(run, model, tokenizer)

    @classmethod
    def frozen(cls, run):
        found = super().frozen(run)
        if run.entropy_model != "policy":
            found["entropy model"] = None if run.entropy_model == "base" else run.entropy_model
        return found

    @classmethod
    def needs_whole_weights(cls, run):
        policy = run.entropy_model == "policy"
        own = ("measure the policy's entropy", "set entropy_model to base")
        return own if policy else super().needs_whole_weights(run)

    def read(self, ids, top=None, *, policy):
        """The entropy in nats at each token of each text, of the `top` likeliest tokens only where that is given."""
        from pzlib.engine.packing import entropies

        return entropies(self.scorer.to(policy.device) if self.scorer else policy, ids, top)
