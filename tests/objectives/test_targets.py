"""Next-token targets by hand: where a passage is cut, which positions are uncertain, what a step asks."""

import math
import random
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForCausalLM, AutoTokenizer

from pzlib.engine.generation import Answer
from pzlib.engine.packing import entropies, probabilities
from pzlib.masking import Passage
from pzlib.objectives.passive import EntropyNextToken
from pzlib.objectives.targets import (
    cut,
    draw_cuts,
    frozen_scorer,
    highest,
    positions,
    target_at,
    token_offsets,
    uncertain,
)
from pzlib.run import Run
from pzlib.train import train

TEXT = "Anna lives in Rome near the old river ."


@pytest.fixture(scope="module")
def tokenizer(tiny_model):
    return AutoTokenizer.from_pretrained(tiny_model)


def test_parts_of_one_character_and_blanks_are_no_targets():
    text = "ab é\n\ncd"
    offsets = [(0, 2), (2, 4), (3, 4), (4, 6), (6, 8)]  # " é" and a byte of it, then the blank lines
    assert positions(text, offsets, min_context=1) == [4]
    assert positions(text, offsets, min_context=5) == []


def test_the_space_before_a_target_is_neither_context_nor_answer():
    masked = cut("Rome is  old", 7, 12)
    assert (masked.text, masked.target, masked.span_starts) == ("Rome is", "old", (9,))


@given(st.lists(st.floats(0, 9), min_size=1, max_size=40), st.integers(0, 5))
def test_the_top_fifth_is_a_fifth_and_none_left_out_is_higher(nats, first):
    places = list(range(min(first, len(nats) - 1), len(nats)))
    chosen = highest(places, nats)
    assert len(chosen) == math.ceil(len(places) / 5) and chosen == sorted(chosen)
    assert min(nats[i] for i in chosen) >= max((nats[i] for i in places if i not in chosen), default=0)


def test_draws_are_uniform_over_the_positions_they_may_take(tokenizer):
    (_,), (offsets,) = token_offsets(tokenizer, [TEXT])
    rng = random.Random(0)
    said = [mask.target for mask in draw_cuts(TEXT, offsets, 2, rng, 7000)]
    assert set(said) == set("in Rome near the old river .".split())
    assert max(said.count(word) for word in set(said)) < 1150 and min(said.count(word) for word in set(said)) > 850
    nats = [9, 9, 0, 5, 0, 0, 4, 0, 0]
    assert {mask.target for mask in draw_cuts(TEXT, offsets, 2, rng, 50, nats)} == {"Rome", "old"}
    assert draw_cuts(TEXT, offsets, 9, rng, 2) == [None, None]


def test_entropy_is_that_of_the_softmax_before_the_token(tiny_model, tokenizer):
    model = AutoModelForCausalLM.from_pretrained(tiny_model).train()
    ids = tokenizer(TEXT)["input_ids"]
    found = entropies(model, [ids, ids[:3]])
    assert model.training and found[0][0] == math.inf and len(found[0]) == len(ids) and len(found[1]) == 3
    with torch.no_grad():
        p = torch.softmax(model.eval()(input_ids=torch.tensor([ids[:4]])).logits[0, -1].double(), -1)
    assert found[0][4] == pytest.approx(-(p * p.log()).sum().item(), rel=1e-5)
    assert found[1] == pytest.approx(found[0][:3])


def test_top_16_entropy_by_hand(tiny_model, tokenizer):
    model = AutoModelForCausalLM.from_pretrained(tiny_model).train()
    ids = tokenizer(TEXT)["input_ids"]
    found = entropies(model, [ids], top=2)[0]
    with torch.no_grad():
        p = torch.softmax(model.eval()(input_ids=torch.tensor([ids[:4]])).logits[0, -1].double(), -1)
    a, b = sorted(p.tolist())[-2:]
    a, b = a / (a + b), b / (a + b)
    assert found[4] == pytest.approx(-a * math.log(a) - b * math.log(b), rel=1e-5) and found[0] == math.inf
    assert max(found[1:]) <= math.log(2) + 1e-6
    full = entropies(model, [ids])[0]
    assert entropies(model, [ids], top=10_000)[0] == pytest.approx(full)  # more than there are: all of them
    assert probabilities(model, [ids, ids], [[(4, 7), (1, 3)], []])[0][0] == pytest.approx(p[7].item(), rel=1e-4)


def test_positions_need_context_and_uncertainty():
    offsets, nats = [(i, i + 1) for i in range(6)], [math.inf, 9.0, 9.0, 0.5, 0.49, 2.0]
    assert uncertain(offsets, nats, min_context=2, threshold=0.5) == [2, 3, 5]
    assert uncertain(offsets, nats, min_context=5, threshold=0.0) == [5]
    assert uncertain(offsets, nats, min_context=6, threshold=0.0) == []


def test_a_step_asks_for_what_comes_next_at_the_most_uncertain_places(tokenizer):
    run = Run(tier="smoke", objective="entropy_next_token", passages=1, group=2, min_context=2)
    game, asked = EntropyNextToken(run, [Passage("p", "", TEXT, 9)], tokenizer), []

    def ask(texts):
        asked.extend(texts)
        return [[Answer([5], [6, 1], "\\boxed{ Rome }", 0.1, False)] * 2 for _ in texts]

    nats = [[9, 9, 0, 5, 4, 0, 0, 0, 0]]
    (block,) = game.play(game.items, ask, random.Random(1), read=lambda ids: nats)
    assert set(asked) <= {f"Passage : Anna lives in {more}[mask] Answer :" for more in ("", "Rome ")}
    told = [row.episode for row in block.rows]
    assert [e["reward"] == 1.0 for e in told] == [e["mask"] == "Rome" for e in told]
    assert told[0]["position"] == pytest.approx(TEXT.index(told[0]["mask"]) / len(TEXT), abs=1e-4)


def test_the_scorer_is_a_frozen_copy_of_the_base_or_a_proxy_with_the_same_words(tiny_model, tokenizer, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    run = Run(tier="smoke", objective="entropy_next_token", model=str(tiny_model))
    assert frozen_scorer(run, model, tokenizer) is None
    copied = frozen_scorer(Run(**run.to_dict() | {"entropy_model": "base"}), model, tokenizer)
    with torch.no_grad():
        model.lm_head.weight.add_(1.0)
    assert not any(w.requires_grad for w in copied.parameters()) and not torch.equal(
        copied.lm_head.weight, model.lm_head.weight
    )
    assert frozen_scorer(Run(**run.to_dict() | {"entropy_model": str(tiny_model)}), model, tokenizer) is not None
    with pytest.raises(ValueError, match="entropy_model: 'data/tinybase_a' has another tokenizer"):
        frozen_scorer(Run(**run.to_dict() | {"entropy_model": "data/tinybase_a"}), model, tokenizer)
    with pytest.raises(ValueError, match="fast tokenizer"):
        token_offsets(SimpleNamespace(is_fast=False), [TEXT])


@pytest.mark.parametrize("entropy_model", ["policy", "base"])
def test_equal_runs_are_equal_and_the_base_is_remembered(tiny_model, entropy_model, home):
    settings = dict(tier="smoke", objective="entropy_next_token", model=str(tiny_model), steps=2, group=2, eval_every=0)
    runs = [Run(**settings, entropy_model=entropy_model, name=name) for name in ("a", "b")]
    first, second = (train(run).episodes().drop(columns="advantage") for run in runs)
    assert first.equals(second) and first["legal"].all() and len(first)


def test_a_text_begins_as_a_prompt_does_and_its_targets_stay_the_same(tokenizer, tiny_model):
    """With a tokenizer that puts a start token before every text, as Gemma's and Llama's do."""
    plain, started = tokenizer, AutoTokenizer.from_pretrained(tiny_model)
    started.bos_token = started.eos_token  # any token serves as start here
    single = [(started.bos_token, started.bos_token_id)]
    started._tokenizer.post_processor = TemplateProcessing(single=f"{started.bos_token} $A", special_tokens=single)
    (ids,), (offsets,) = token_offsets(started, [TEXT])
    assert ids == started(TEXT)["input_ids"] and ids[0] == started.bos_token_id and offsets[0] == (0, 0)
    assert token_offsets(started, [TEXT], start=False)[0] == token_offsets(plain, [TEXT])[0]
    words = [TEXT[slice(*offsets[i])] for i in positions(TEXT, offsets, min_context=1)]
    assert words == TEXT.split()  # the first word too: it has the start token before it
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    (nats,) = entropies(model, [ids])
    assert math.isinf(nats[0]) and all(map(math.isfinite, nats[1:])) and len(nats) == len(offsets)
    assert [target_at(TEXT, offsets, place).token.strip() for place in uncertain(offsets, nats, 1, 0.0)] == words
