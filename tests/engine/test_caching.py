"""Decoding at length: numbers and tokens of transformers' own cache and repeated heads, without their copies."""

import contextlib

import pytest
import torch
from transformers import DynamicCache
from transformers.integrations import sdpa_attention

from pzlib.engine import sampling
from pzlib.engine.sampling import RoomyLayer, cache_for, grouped, grouping
from tests.bench.decoding import random_model


class Attention:
    num_key_value_groups = 8


def drawn(model, dtype):
    """Completions of prompts of several lengths, of which some end early, so that sequences leave the batch."""
    ids = [[i % 300 + 3 for i in range(length)] for length in (40, 33, 12, 5)]
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        found = sampling.sample(
            model, ids, 4, max_new_tokens=30, eos_ids=list(range(100)), pad_id=1,
            generator=torch.Generator().manual_seed(3),
        )  # fmt: skip
    return found


def test_grouped_heads_give_what_repeated_ones_give_and_repeat_nothing(monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr(sampling, "GROUPED", 32)
    query, key, value = torch.randn(3, 16, 4, 8), torch.randn(3, 2, 40, 8), torch.randn(3, 2, 40, 8)
    owners = torch.randint(-2, 4, (3, 40))
    owners[:, 0] = sampling.PROMPT
    mask = sampling.visibility(torch.arange(4).expand(3, -1), owners, torch.float32)
    wanted, _ = sdpa_attention.sdpa_attention_forward(Attention, query, key, value, mask, scaling=0.3)
    monkeypatch.setattr(sdpa_attention, "repeat_kv", lambda *_: pytest.fail("keys were repeated"))
    found, _ = grouped(Attention, query, key, value, mask, scaling=0.3)
    assert found.shape == wanted.shape and (found - wanted).abs().max() < 1e-5


def test_short_caches_keep_transformers_own_way_to_the_bit():
    query, key, value = torch.randn(3, 16, 4, 8), torch.randn(3, 2, 40, 8), torch.randn(3, 2, 40, 8)
    mask = torch.zeros(3, 1, 4, 40)
    wanted, _ = sdpa_attention.sdpa_attention_forward(Attention, query, key, value, mask, scaling=0.3)
    assert torch.equal(grouped(Attention, query, key, value, mask, scaling=0.3)[0], wanted)


# In bfloat16 another order of summation rounds otherwise, so a token moves now and then: there the cache alone is held.
@pytest.mark.parametrize(("dtype", "shared", "longer_than"), [(torch.float32, 2, 16), (torch.bfloat16, 16, 1024)])
def test_the_same_tokens_are_drawn_as_with_transformers_own_cache_and_heads(monkeypatch, dtype, shared, longer_than):
    monkeypatch.setattr(sampling, "GROUPED", longer_than)
    model, called, plain = random_model(layers=2), [], torch.nn.functional.scaled_dot_product_attention

    def counted(query, key, *more, **named):
        called.append((query.shape[1], key.shape[1], key.dtype))
        return plain(query, key, *more, **named)

    with monkeypatch.context() as patched:
        patched.setattr(torch.nn.functional, "scaled_dot_product_attention", counted)
        found = drawn(model, dtype)
    # heads asked with, heads of keys, precision of the keys: grouped, and kept as the arithmetic reads them
    assert called[-1] == (shared, shared, dtype)
    assert len({len(ids) for ids in found.completion_ids}) > 3 and model.config._attn_implementation == "sdpa"
    monkeypatch.setattr(sampling, "cache_for", lambda *_: DynamicCache())
    monkeypatch.setattr(sampling, "grouping", lambda _: contextlib.nullcontext())
    wanted = drawn(model, dtype)
    assert found.completion_ids == wanted.completion_ids
    assert found.entropy == pytest.approx(wanted.entropy, rel=1e-5)


def test_a_token_moves_no_other_and_no_more_room_is_made_than_will_be_needed():
    layer, plain = RoomyLayer(most=13), DynamicCache()
    places = set()
    for count in (8, 1, 1, 1, 1, 1):
        new = torch.randn(2, 3, count, 4)
        found = layer.update(new, -new)
        wanted = plain.update(new, -new, 0)
        assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
        places.add(found[0].data_ptr())
    assert len(places) == 2 and layer.room[0].shape[-2] == 13  # first 10, then the most
    layer.batch_select_indices(torch.tensor([1]))
    assert torch.equal(layer.update(new[1:], -new[1:])[0], torch.cat([wanted[0][1:], new[1:]], 2))


def test_models_on_another_attention_are_left_alone_and_an_error_leaves_the_model_as_it_was():
    model = random_model(layers=1)
    with pytest.raises(KeyError), grouping(model):
        assert model.config._attn_implementation == sampling.ATTENTION
        raise KeyError
    assert model.config._attn_implementation == "sdpa" and len(cache_for(model, 9).layers) == 1
    model.set_attn_implementation("eager")
    with grouping(model):
        assert model.config._attn_implementation == "eager"
