"""What a model finds in texts: entropies, and the probability of tokens that could be there. It is left in its mode.
Leaves out sampling temperature: a likelihood is the model's own, at temperature 1."""

import math
from itertools import compress

import torch

from pzlib.engine.models import evaluating
from pzlib.engine.packing import batches, lay_out, longest_of, split
from pzlib.engine.sampling import can_branch
from pzlib.engine.shares import TOKENS_AT_ONCE


def read(model, tokens):
    """Logits (T, V) of what comes after each of the token ids of one text."""
    return model(input_ids=torch.tensor([tokens], device=model.device), use_cache=False).logits[0]


def entropies(model, ids: list[list[int]], top: int | None = None) -> list[list[float]]:
    """For each text and token the entropy in nats of what `model` expects there; infinite at the first token.

    The text alone is read, with no prompt around it. top: None for the full softmax; else of so many most likely tokens
    only (RPT sec. 3.3: 16), renormalised, so at most log(top). Whether RPT renormalises is not stated. Without it a
    spread over a hundred tokens would count as nearly certain, since the top 16 hold little of it.
    """
    found = []
    with evaluating(model):
        for tokens in ids:  # passages differ in length, and a step has few: no padding to reason about
            logits = read(model, tokens)[:-1]
            if top is not None:
                logits = logits.topk(min(top, logits.shape[-1])).values
            logp = logits.float().log_softmax(-1)  # (T - 1, V), or (T - 1, top)
            found.append([math.inf, *(-(logp.exp() * logp).sum(-1)).tolist()])
    return found


def probabilities(model, ids: list[list[int]], wanted: list[list[tuple[int, int]]]) -> list[list[float]]:
    """How likely `model` finds tokens that are not there: for each text and each (place, token id) of its `wanted` the
    probability of that token at that place, which counts in tokens from 1."""
    found = []
    with evaluating(model):
        for tokens, asked in zip(ids, wanted, strict=True):
            found.append([])
            if asked:
                places, others = torch.tensor(asked, device=model.device).T  # (N,), (N,)
                likely = read(model, tokens)[places - 1].float().softmax(-1)
                found[-1] = likely.gather(1, others[:, None])[:, 0].tolist()
    return found


def after(model, questions):
    """log p(token | text + branch) in nats: for each question a list with one number a branch.

    questions: (text, branches, token) each: token ids of the text (at least one), a list of lists of ids that go on
    from it (empty ones too), and the id asked for.
    """
    found = likelihoods(model, [(text, [(b, [token]) for b in branches]) for text, branches, token in questions])
    return [[own for (own,) in each] for each in found]


def likelihoods(model, questions):
    """log p(target token | text + branch + target tokens before it) in nats: for each question and branch a list.

    questions: (text, [(branch, target), ...]) each: token ids of the text (at least one), ids that go on from it (empty
    ones too), and the ids to be scored after those. Equal pairs are read once and get the very same numbers. A model
    that `can_branch` refuses (a recurrent state, a window) reads every branch with its text, padded on the right: a
    causal model does not see what comes later.
    """
    slots, together = {}, can_branch(model)  # slots: (question, branch, target) -> where its numbers will be
    for number, (_, pairs) in enumerate(questions):
        for branch, target in pairs:
            slots.setdefault((number, tuple(branch), tuple(target)), len(slots))
    groups, first, found = [(text, []) for text, _ in questions], {}, {}
    for (number, branch, target), slot in slots.items():  # as `PackedModel` reads completions, the target at the end
        groups[number][1].append((slot, [*branch, *target]))
        first[slot], found[slot] = len(branch), []
    with evaluating(model):
        if not slots:  # no answer was opened anywhere
            return [[] for _ in questions]
        for batch in batches(split(groups, longest_of(model) if together else 0), TOKENS_AT_ONCE):
            tensors, targets, places = lay_out(batch, model.dtype, model.device)
            scored = [column >= first[slot] for slot, column in places]
            asked = torch.tensor(scored, device=model.device)
            rows, columns = (index[asked] for index in (targets != -100).nonzero(as_tuple=True))
            if together:
                wanted, at = columns.unique(return_inverse=True)
                logits = model(**tensors, use_cache=False, logits_to_keep=wanted).logits[rows, at]
            else:
                logits = model(input_ids=tensors["input_ids"], use_cache=False).logits[rows, columns]
            logp = logits.float().log_softmax(-1).gather(1, targets[rows, columns][:, None])[:, 0]
            for (slot, _), value in zip(compress(places, scored), logp.tolist(), strict=True):
                found[slot].append(value)
    return [[found[slots[n, tuple(b), tuple(t)]] for b, t in pairs] for n, (_, pairs) in enumerate(questions)]
