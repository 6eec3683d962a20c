"""How likely a model finds one token after each of several branches of a text; what branches share is read once.
Leaves out sampling temperature: a likelihood is the model's own, at temperature 1."""

import torch

from pzlib.branching import can_branch
from pzlib.packing import batches, lay_out, longest_of, split

TOKENS_AT_ONCE = 2048  # of a forward pass, padding included: larger ones fall out of a CPU's cache


@torch.no_grad()
def after(model, questions):
    """log p(token | text + branch) in nats: for each question a list with one number a branch.

    questions: (text, branches, token) each: token ids of the text (at least one), a list of lists of ids that go on
    from it (empty ones too), and the id asked for. Equal branches are read once and get the very same number. A model
    that `can_branch` refuses (a recurrent state, a window) reads every branch with its text, padded on the right: a
    causal model does not see what comes later. Eval mode, and back.
    """
    slots = {}  # (question, branch) -> where its number will stand
    for number, (_, branches, _) in enumerate(questions):
        for branch in branches:
            slots.setdefault((number, tuple(branch)), len(slots))
    read = _together if can_branch(model) else _apart
    training, found = model.training, {}
    model.eval()
    try:
        for places, values in read(model, questions, slots):
            found.update(zip(places, values.tolist(), strict=True))
    finally:
        model.train(training)
    return [[found[slots[n, tuple(branch)]] for branch in branches] for n, (_, branches, _) in enumerate(questions)]


def _together(model, questions, slots):
    """Branches as `PackedModel` reads completions, the token asked for as the last of each."""
    groups = [(text, []) for text, _, _ in questions]
    for (number, branch), slot in slots.items():
        groups[number][1].append((slot, [*branch, questions[number][2]]))
    for batch in batches(split(groups, longest_of(model)), TOKENS_AT_ONCE):
        ends = {slot: len(done) - 1 for _, branches in batch for slot, done in branches}
        tensors, targets, places = lay_out(batch, model.dtype, model.device)
        last = torch.tensor([column == ends[slot] for slot, column in places], device=model.device)
        rows, columns = (index[last] for index in (targets != -100).nonzero(as_tuple=True))
        wanted, at = columns.unique(return_inverse=True)
        logits = model(**tensors, use_cache=False, logits_to_keep=wanted).logits[rows, at]
        yield [slot for slot, column in places if column == ends[slot]], _of(logits, targets[rows, columns])


def _apart(model, questions, slots):
    rows = [([*questions[number][0], *branch], questions[number][2], slot) for (number, branch), slot in slots.items()]
    rows.sort(key=lambda row: len(row[0]))
    while rows:
        width = len(rows[-1][0])  # the longest first, so that a batch holds rows of like length
        rows, batch = rows[: -max(1, TOKENS_AT_ONCE // width)], rows[-max(1, TOKENS_AT_ONCE // width) :]
        ids = torch.tensor([row + [0] * (width - len(row)) for row, _, _ in batch], device=model.device)
        last = torch.tensor([len(row) - 1 for row, _, _ in batch], device=model.device)
        logits = model(input_ids=ids, use_cache=False).logits[torch.arange(len(batch), device=model.device), last]
        yield [slot for _, _, slot in batch], _of(logits, torch.tensor([token for _, token, _ in batch]).to(last))


def _of(logits, tokens):
    """log-softmax of logits (N, V) at tokens (N,)."""
    return logits.float().log_softmax(-1).gather(1, tokens[:, None])[:, 0]
