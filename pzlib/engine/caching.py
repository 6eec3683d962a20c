"""Decoding at length without copies: keys and values in room made ahead, heads that share keys in one product.
Leaves out short caches, where transformers' own way costs nothing and gives the bits that it always gave."""

import contextlib

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.cache_utils import Cache, DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from pzlib.engine.memory import GROUPED

NAME = "pzlib_grouped"  # of the attention, as transformers looks it up
SLACK = 1.25  # room made at once, times what is needed


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


AttentionInterface.register(NAME, grouped)
AttentionMaskInterface.register(NAME, sdpa_mask)


@contextlib.contextmanager
def grouping(model):
    """Within it a model on sdpa attention groups its heads as `grouped` does; any other is left as it is."""
    config = model.config.get_text_config()
    own = config._attn_implementation
    if own == "sdpa":
        config._attn_implementation = NAME
    try:
        yield
    finally:
        if own == "sdpa":
            config._attn_implementation = own
