"""Several completions of one prompt as branches of one sequence: who sees whom, which models can read it.
Leaves out attention windows and recurrent states, where a branch could not be told from its neighbours."""

import inspect
import weakref

import torch

PROMPT, IDLE = -1, -2  # owners of a cached position: all branches of its sequence, or none that counts
_branches = weakref.WeakKeyDictionary()  # model -> the verdict of `can_branch`, asked once per model


def visibility(queries, keys, dtype):
    """The additive attention mask (B, 1, Q, K) under which a branch sees the prompt and itself only.

    queries (B, Q) and keys (B, K) hold the owner of each position: a branch's number, PROMPT or IDLE. An idle
    query sees the prompt, so that no row of the mask is empty; nobody who counts ever sees an idle key.

    >>> mask = visibility(torch.tensor([[0, 1]]), torch.tensor([[PROMPT, 0, 1]]), torch.float32)
    >>> (mask[0, 0] == 0).tolist()
    [[True, True, False], [True, False, True]]
    """
    seen = (keys[:, None, :] == queries[:, :, None]) | (keys[:, None, :] == PROMPT)  # (B, Q, K)
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(
        ~seen, torch.finfo(dtype).min
    )[:, None]


def can_branch(model):
    """Whether several branches of one prompt can share a sequence in this model: asked of the model itself,
    by trial.

    Needs full attention in every layer and free positions; a window, a recurrent state or ALiBi would mix the
    branches. The trial compares two branches in one sequence with the same two read apart, to 0.1 % of the
    logits' spread.
    """
    if model not in _branches:
        _branches[model] = _full_attention(model) and _branches_stay_apart(model)
    return _branches[model]


def _full_attention(model):
    config = model.config.get_text_config()
    window = "sliding_attention" if getattr(config, "sliding_window", None) else "full_attention"
    layers = getattr(config, "layer_types", None) or [window]  # the trial is too short to see a window of thousands
    takes = inspect.signature(model.forward).parameters
    return (
        set(layers) == {"full_attention"}
        and not getattr(model, "_is_stateful", False)
        and config._attn_implementation in ("sdpa", "eager")
        and {"position_ids", "past_key_values", "logits_to_keep"} <= set(takes)
    )


def _branches_stay_apart(model):
    ids = (
        torch.arange(8, device=model.device)[None] % model.config.get_text_config().vocab_size
    )  # 4 shared, 2 + 2 own
    owner = torch.tensor([[PROMPT] * 4 + [0, 0, 1, 1]], device=model.device)
    position = torch.tensor([[0, 1, 2, 3, 4, 5, 4, 5]], device=model.device)
    training = model.training
    model.eval()
    try:
        # in the weights' own precision: under a run's autocast, rounding would decide
        with torch.no_grad(), torch.autocast(model.device.type, enabled=False):
            mask = visibility(owner, owner, model.dtype)
            mask = mask + torch.full_like(mask[0, 0], torch.finfo(mask.dtype).min).triu(1)
            packed = model(
                input_ids=ids,
                attention_mask=mask.clamp_min(torch.finfo(mask.dtype).min),
                position_ids=position,
                use_cache=False,
            ).logits[0, 4:]
            apart = [
                model(input_ids=torch.cat([ids[:, :4], own], 1), use_cache=False).logits[0, 4:]
                for own in (ids[:, 4:6], ids[:, 6:])
            ]
    except (RuntimeError, ValueError, TypeError, IndexError):  # a model that does not take such a mask
        return False
    finally:
        model.train(training)
    apart = torch.cat(apart)
    slack = 1e-3 if apart.dtype == torch.float32 else 5e-2
    return bool((packed - apart).abs().max() <= slack * apart.std())
