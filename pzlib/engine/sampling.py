"""Draws completions: a group's shared prompt is read once, its G completions grow as branches of a sequence, at length
without copies. Leaves out beams, penalties and stop strings: the papers only sample at a temperature with top-p."""

import contextlib
import inspect
import weakref
from dataclasses import dataclass

import torch
from transformers import AttentionInterface, AttentionMaskInterface, GenerationConfig, LogitsProcessor
from transformers.cache_utils import Cache, DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from pzlib.engine.memory import GROUPED
from pzlib.engine.models import evaluating

PROMPT, IDLE = -1, -2  # owners of a cached position: all branches of its sequence, or none that counts
SHARED = 64  # tokens that prompts begin alike with, from which on they are read once for all
ARGUMENTS = {"position_ids", "past_key_values", "logits_to_keep"}  # that a model must take, if it is to branch
ATTENTION = "pzlib_grouped"  # the name by which transformers looks it up
SLACK = 1.25  # room made at once, times what is needed
_branches = weakref.WeakKeyDictionary()  # model -> the verdict of `can_branch`, asked once per model


def visibility(queries, keys, dtype, causal=False):
    """The additive attention mask (B, 1, Q, K) under which a branch sees the prompt and itself only.

    queries (B, Q) and keys (B, K) hold the owner of each position: a branch's number, PROMPT or IDLE. An idle query
    sees the prompt, so that no row of the mask is empty; nobody who counts ever sees an idle key. causal: of Q = K
    positions none sees a later one.

    >>> mask = visibility(torch.tensor([[0, 1]]), torch.tensor([[PROMPT, 0, 1]]), torch.float32)
    >>> (mask[0, 0] == 0).tolist()
    [[True, True, False], [True, False, True]]
    """
    seen = (keys[:, None, :] == queries[:, :, None]) | (keys[:, None, :] == PROMPT)  # (B, Q, K)
    seen = seen.tril() if causal else seen
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, torch.finfo(dtype).min)[:, None]


def can_branch(model):
    """Whether several branches of one prompt can share a sequence in this model: asked of the model itself, by trial.

    Needs full attention in every layer and free positions; a window, a recurrent state or ALiBi would mix the branches.
    The trial compares two branches in one sequence with the same two read apart, to 0.1 % of the logits' spread.
    """
    if model not in _branches:
        config = model.config.get_text_config()
        window = "sliding_attention" if getattr(config, "sliding_window", None) else "full_attention"
        layers = getattr(config, "layer_types", None) or [window]  # the trial is too short to see a window of thousands
        _branches[model] = (
            set(layers) == {"full_attention"}
            and not getattr(model, "_is_stateful", False)
            and config._attn_implementation in ("sdpa", "eager")
            and ARGUMENTS <= set(inspect.signature(model.forward).parameters)
            and _branches_stay_apart(model)
        )
    return _branches[model]


def _branches_stay_apart(model):
    ids = torch.arange(8, device=model.device)[None] % model.config.get_text_config().vocab_size  # 4 shared, 2 + 2 own
    owner = torch.tensor([[PROMPT] * 4 + [0, 0, 1, 1]], device=model.device)
    position = torch.tensor([[0, 1, 2, 3, 4, 5, 4, 5]], device=model.device)
    mask = visibility(owner, owner, model.dtype, causal=True)
    try:
        # in the weights' own precision: under a run's autocast, rounding would decide
        with evaluating(model), torch.autocast(model.device.type, enabled=False):
            packed = model(input_ids=ids, attention_mask=mask, position_ids=position, use_cache=False).logits[0, 4:]
            rows = [torch.cat([ids[:, :4], own], 1) for own in (ids[:, 4:6], ids[:, 6:])]
            apart = torch.cat([model(input_ids=row, use_cache=False).logits[0, 4:] for row in rows])
    except (RuntimeError, ValueError, TypeError, IndexError):  # a model that does not take such a mask
        return False
    slack = 1e-3 if apart.dtype == torch.float32 else 5e-2
    return bool((packed - apart).abs().max() <= slack * apart.std())


@dataclass(frozen=True)
class Samples:
    """What was drawn, one entry per row, prompt-major: row `p * repeats + i` continues prompt `p`."""

    completion_ids: list[list[int]]  # with the end token where one was drawn
    entropy: list[float]  # mean nats per token of the distribution drawn from
    clipped: list[bool]  # cut at max_new_tokens, without an end token


def draw(logits, uniforms, temperature=1.0, top_p=1.0):
    """One token per row by inverse CDF, and the entropy in nats of the distribution it came from.

    logits (..., V), uniforms (...) in [0, 1). Temperature 0 takes the most likely token and reports the entropy at
    temperature 1. The same uniform gives the same token whatever else is in the batch.

    >>> token, entropy = draw(torch.tensor([[0.0, 0.0]]), torch.tensor([0.75]))
    >>> token.tolist(), round(entropy.item(), 4)
    ([1], 0.6931)
    """
    logp = torch.log_softmax(logits.float() / (temperature or 1.0), dim=-1)
    probs = logp.exp()
    if top_p < 1.0:
        ordered, index = probs.sort(dim=-1, descending=True, stable=True)
        outside = ordered.cumsum(-1) - ordered >= top_p  # the token that crosses top_p stays in
        probs = probs.scatter(-1, index, ordered.masked_fill(outside, 0.0))
        probs = probs / probs.sum(-1, keepdim=True)
        logp = probs.clamp_min(1e-38).log()
    entropy = -(probs * logp).sum(-1)
    if temperature == 0:
        return logits.argmax(-1), entropy
    cdf = probs.cumsum(-1)
    # right=True: the first token whose CDF exceeds the draw, so a token of probability 0 can never be it.
    token = torch.searchsorted(cdf, (uniforms.to(cdf.dtype) * cdf[..., -1])[..., None], right=True)[..., 0]
    return token.clamp_max(logits.shape[-1] - 1), entropy


def sample(
    model, prompt_ids, repeats, *, max_new_tokens, eos_ids, pad_id, temperature=1.0, top_p=1.0, generator,
    place=None, max_rows=None,
):  # fmt: skip
    """`repeats` completions for each prompt, as `Samples`.

    prompt_ids: lists of token ids; generator: a `torch.Generator`, the only source of randomness, from which one
    uniform per row and token is drawn first, so that neither batching (`max_rows` at a time) nor finished rows
    change what another row gets. place: (before, total) where these are prompts number `before` and on of `total`, the
    others being other processes': each gets the uniforms that it would get if one process drew for all.
    Raises ValueError for an empty prompt.
    """
    if any(not ids for ids in prompt_ids):
        raise ValueError("prompt_ids: a prompt without tokens cannot be continued; leave it out")
    before, total = place or (0, len(prompt_ids))
    uniforms = torch.rand(total, repeats, max_new_tokens, generator=generator, device=generator.device)
    uniforms = uniforms[before : before + len(prompt_ids)]
    at_once = max(1, (max_rows or len(prompt_ids) * repeats) // repeats)
    settings = {"eos_ids": list(eos_ids), "pad_id": pad_id, "temperature": temperature, "top_p": top_p}
    grow, drawn = _grow_branches if can_branch(model) else _generate, []
    with evaluating(model), torch.inference_mode():
        for i in range(0, len(prompt_ids), at_once):
            part = slice(i, i + at_once)
            drawn += grow(model, prompt_ids[part], uniforms[part].to(model.device), **settings)
    ids, entropy = ([row[i] for row in drawn] for i in (0, 1))
    return Samples(ids, entropy, [row[-1] not in settings["eos_ids"] for row in ids])


def alike(prompt_ids, least=None):
    """How many tokens several prompts begin alike with, if these are `least` or more (default SHARED) and leave each
    prompt one of its own; else 0. Examples before every request are such tokens.

    >>> alike([[5, 6, 7], [5, 6, 8, 9]], least=2), alike([[5, 6], [5, 6, 8]], least=2), alike([[5, 6, 7]], least=1)
    (2, 0, 0)
    """
    if len(prompt_ids) < 2:
        return 0
    first, last = min(prompt_ids), max(prompt_ids)  # in the order of lists these two differ first
    most = min(map(len, prompt_ids)) - 1
    count = next((i for i in range(most) if first[i] != last[i]), most)
    return count if count >= (SHARED if least is None else least) else 0


def _left_pad(prompt_ids, pad_id, device):
    """Token ids and their mask, both (P, longest), the tokens at the right."""
    width = max(map(len, prompt_ids))
    ids = torch.tensor([[pad_id] * (width - len(p)) + p for p in prompt_ids], device=device)
    return ids, torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompt_ids], device=device)


def _grow_branches(model, prompt_ids, uniforms, *, eos_ids, pad_id, temperature, top_p):
    """[(completion, mean entropy)] per row: one cached sequence per prompt, to which each live branch adds a token."""
    prompts, branches, most = uniforms.shape
    device = uniforms.device
    shared = alike(prompt_ids)
    ids, mask = _left_pad([own[shared:] for own in prompt_ids], pad_id, device)
    cache = cache_for(model, shared + ids.shape[1] + branches * (most - 1))
    eos = torch.tensor(eos_ids, device=device)
    cached = {"past_key_values": cache, "use_cache": True}
    if shared:
        head = torch.tensor([prompt_ids[0][:shared]], device=device)
        model(input_ids=head, attention_mask=torch.ones_like(head), logits_to_keep=1, **cached)
        cache.batch_repeat_interleave(prompts)
        mask = torch.cat([mask.new_ones(prompts, shared), mask], dim=1)
    positions = (mask.cumsum(1) - 1).clamp_min(0)[:, shared:]
    out = model(input_ids=ids, attention_mask=mask, position_ids=positions, logits_to_keep=1, **cached)
    logits = out.logits[:, -1:].expand(-1, branches, -1)  # (P, G, V)
    owner = torch.where(mask.bool(), PROMPT, IDLE)  # (P, K) of each cached position
    row = torch.arange(prompts, device=device)  # which prompt each sequence of the batch continues
    length = mask.sum(1)  # next free position of each sequence
    branch = torch.arange(branches, device=device).expand(prompts, -1)  # (P, columns) of each column; IDLE if done
    drawn = torch.full((prompts, branches, most), pad_id, device=device)
    entropy = torch.zeros(prompts, branches, device=device)
    tokens_of = torch.zeros(prompts, branches, dtype=torch.long, device=device)

    for step in range(most):
        live = branch >= 0
        r, b = row[:, None].expand_as(branch)[live], branch[live]
        tokens = torch.full_like(branch, pad_id)
        tokens[live], nats = draw(logits[live], uniforms[r, b, step], temperature, top_p)
        drawn[r, b, step] = tokens[live]
        entropy[r, b] += nats
        tokens_of[r, b] += 1
        live &= ~torch.isin(tokens, eos)
        alive = live.sum(1)
        columns = int(alive.max())
        if columns == 0 or step == most - 1:
            break
        # Live branches move to the left columns; sequences without any leave once they are worth a copy of the cache.
        order = live.int().argsort(dim=1, descending=True, stable=True)[:, :columns]
        branch, tokens = branch.masked_fill(~live, IDLE).gather(1, order), tokens.gather(1, order)
        keep = (alive > 0).nonzero()[:, 0]
        if len(keep) <= 0.75 * len(row):
            cache.batch_select_indices(keep)
            branch, tokens, owner, row, length = (each[keep] for each in (branch, tokens, owner, row, length))
        owner = torch.cat([owner, branch], dim=1)
        seen, positions = visibility(branch, owner, model.dtype), (length + step)[:, None].expand_as(tokens)
        with grouping(model):
            logits = model(input_ids=tokens, attention_mask=seen, position_ids=positions, **cached).logits

    mean = (entropy / tokens_of).flatten().tolist()
    rows, counts = drawn.flatten(0, 1).tolist(), tokens_of.flatten().tolist()
    return [(ids[:n], h) for ids, n, h in zip(rows, counts, mean, strict=True)]


class RoomyLayer(DynamicLayer):
    """Keys and values of a layer, each (B, heads, positions, width), at the front of room that is made ahead.

    transformers' DynamicLayer copies all of them for every token. Under autocast both are kept in its precision, in
    which attention reads them anyway; keys come out of their rotation in float32. most: positions that will ever be
    needed.
    """

    def __init__(self, most):
        super().__init__()
        self.most, self.room = most, None

    def update(self, key_states, value_states, *args, **kwargs):
        """Takes the new states in; returns all of them, as views."""
        kind = key_states.device.type
        if torch.is_autocast_enabled(kind):
            key_states, value_states = (s.to(torch.get_autocast_dtype(kind)) for s in (key_states, value_states))
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start = self.get_seq_length()
        end = start + key_states.shape[-2]
        if self.room is None or end > self.room[0].shape[-2]:
            size = max(end, min(int(SLACK * end), self.most))
            old = self.keys, self.values
            self.room = [s.new_empty(*s.shape[:2], size, s.shape[-1]) for s in (key_states, value_states)]
            if start:
                self._fill(0, *old)
        self._fill(start, key_states, value_states)
        self.keys, self.values = (room[:, :, :end] for room in self.room)
        return self.keys, self.values

    def _fill(self, start, *states):
        for room, own in zip(self.room, states, strict=True):
            room[:, :, start : start + own.shape[-2]] = own

    def batch_select_indices(self, indices):
        """Keep these sequences; the room goes with the others."""
        super().batch_select_indices(indices)
        self.room = None

    def batch_repeat_interleave(self, repeats):
        """Each sequence so many times."""
        super().batch_repeat_interleave(repeats)
        self.room = None


def cache_for(model, most):
    """An empty cache for sequences of at most `most` positions."""
    return Cache(layers=[RoomyLayer(most) for _ in range(model.config.get_text_config().num_hidden_layers)])


def grouped(module, query, key, value, attention_mask, **kwargs):
    """Attention under a mask in which the heads that share keys ask together, so that no key is repeated for them.

    query (B, heads, Q, width), key and value (B, shared, K, width), mask (B, 1, Q, K): the queries of `heads / shared`
    heads become (B, shared, heads / shared * Q, width). transformers repeats keys and values to all heads, at each
    layer and token.
    """
    batch, heads, queries, width = query.shape
    shared, keys = key.shape[1:3]
    times = heads // shared
    if times == 1 or keys < GROUPED or times * queries >= keys or attention_mask is None or attention_mask.shape[1] > 1:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    found = torch.nn.functional.scaled_dot_product_attention(
        query.reshape(batch, shared, times * queries, width), key, value,
        attn_mask=attention_mask.repeat(1, 1, times, 1), scale=kwargs.get("scaling"),
    )  # fmt: skip
    return found.reshape(batch, heads, queries, -1).transpose(1, 2).contiguous(), None


AttentionInterface.register(ATTENTION, grouped)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)


@contextlib.contextmanager
def grouping(model):
    """Within it a model on sdpa attention groups its heads as `grouped` does; any other is left as it is."""
    config = model.config.get_text_config()
    own = config._attn_implementation
    if own == "sdpa":
        config._attn_implementation = ATTENTION
    try:
        yield
    finally:
        if own == "sdpa":
            config._attn_implementation = own


class _Draw(LogitsProcessor):
    """Makes greedy `generate` sample: every score but the drawn token's becomes -inf; keeps the entropies."""

    def __init__(self, uniforms, temperature, top_p):
        self.uniforms, self.temperature, self.top_p, self.entropy = uniforms, temperature, top_p, []

    def __call__(self, input_ids, scores):
        token, nats = draw(scores, self.uniforms[:, len(self.entropy)], self.temperature, self.top_p)
        self.entropy.append(nats)
        return torch.full_like(scores, -torch.inf).scatter(1, token[:, None], 0.0)


def _generate(model, prompt_ids, uniforms, *, eos_ids, pad_id, temperature, top_p):
    """The same by transformers' `generate`, for models whose state is not a plain key-value cache."""
    ids, mask = _left_pad(prompt_ids, pad_id, uniforms.device)
    repeats, processor = uniforms.shape[1], _Draw(uniforms.flatten(0, 1), temperature, top_p)
    ids, mask = ids.repeat_interleave(repeats, 0), mask.repeat_interleave(repeats, 0)
    # A model's own generation_config may hold penalties: sampled under them, the loss would be off-policy unseen.
    own, model.generation_config = model.generation_config, GenerationConfig()
    try:
        out = model.generate(
            input_ids=ids, attention_mask=mask, do_sample=False, max_new_tokens=uniforms.shape[2],
            eos_token_id=eos_ids, pad_token_id=pad_id, logits_processor=[processor],
        )  # fmt: skip
    finally:
        model.generation_config = own
    result = []
    for row, h in zip(out[:, ids.shape[1] :].tolist(), torch.stack(processor.entropy, 1).tolist(), strict=True):
        end = next((i for i, token in enumerate(row) if token in eos_ids), len(row) - 1) + 1
        result.append((row[:end], sum(h[:end]) / end))
    return result
