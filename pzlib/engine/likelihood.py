"""What a model finds in texts: the entropy at each token, the probability of tokens that could be there instead.
Reads the text alone, at temperature 1, with no prompt around it."""

import math

import torch


@torch.no_grad()
def entropies(model, ids: list[list[int]], top: int | None = None) -> list[list[float]]:
    """For each text and token the entropy in nats of what `model` expects there; infinite at the first token.

    The text alone is read, with no prompt around it. top: None for the full softmax; else of so many most likely tokens
    only (RPT sec. 3.3: 16), renormalised, so at most log(top). Whether RPT renormalises is not stated. Without it a
    spread over a hundred tokens would count as nearly certain, since the top 16 hold little of it.
    """
    training, found = model.training, []
    model.eval()
    try:
        for tokens in ids:  # passages differ in length, and a step has few: no padding to reason about
            logits = model(input_ids=torch.tensor([tokens], device=model.device), use_cache=False).logits[0, :-1]
            if top is not None:
                logits = logits.topk(min(top, logits.shape[-1])).values
            logp = logits.float().log_softmax(-1)  # (T - 1, V), or (T - 1, top)
            found.append([math.inf, *(-(logp.exp() * logp).sum(-1)).tolist()])
    finally:
        model.train(training)
    return found


@torch.no_grad()
def probabilities(model, ids: list[list[int]], wanted: list[list[tuple[int, int]]]) -> list[list[float]]:
    """How likely `model` finds tokens that do not stand there: for each text and each (place, token id) of its `wanted`
    the probability of that token at that place, which counts in tokens from 1."""
    training, found = model.training, []
    model.eval()
    try:
        for tokens, asked in zip(ids, wanted, strict=True):
            if not asked:
                found.append([])
                continue
            places, said = torch.tensor(asked, device=model.device).T  # (N,), (N,)
            logits = model(input_ids=torch.tensor([tokens], device=model.device), use_cache=False).logits[0]
            found.append(logits[places - 1].float().softmax(-1).gather(1, said[:, None])[:, 0].tolist())
    finally:
        model.train(training)
    return found
