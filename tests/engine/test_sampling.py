"""Sampling against transformers' own generate, against softmax, and against itself in other batches."""

import pytest
import torch
from scipy import stats
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    MistralConfig,
    MistralForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from pzlib.engine import sampling
from pzlib.engine.sampling import can_branch, draw, sample

EOS, PAD = 1, 0
PROMPTS = [[5, 6, 7], [8], [9, 10, 11, 12, 13], [5, 6, 7, 3]]


def qwen(**changes):
    torch.manual_seed(0)
    sizes = {
        "vocab_size": 40,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "initializer_range": 0.3,
    } | changes
    return Qwen3ForCausalLM(Qwen3Config(**sizes, eos_token_id=EOS, pad_token_id=PAD))


@pytest.fixture(scope="module")
def model():
    torch.set_num_threads(1)
    return qwen()


def run(model, prompts=PROMPTS, repeats=3, seed=0, **settings):
    settings = {"max_new_tokens": 12, "eos_ids": [EOS], "pad_id": PAD, "temperature": 1.0} | settings
    return sample(model, prompts, repeats, generator=torch.Generator().manual_seed(seed), **settings)


def same(a, b):
    """Equal tokens; entropies but for the rounding of another batch shape."""
    assert a.completion_ids == b.completion_ids and a.clipped == b.clipped
    assert a.entropy == pytest.approx(b.entropy, abs=1e-5)


def greedy_by_generate(model, prompt, most=12):
    out = model.eval().generate(
        torch.tensor([prompt]),
        do_sample=False,
        max_new_tokens=most,
        eos_token_id=EOS,
        pad_token_id=PAD,
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
    )
    return out[0, len(prompt) :].tolist()


def test_greedy_equals_generate(model):
    got = run(model, repeats=2, temperature=0).completion_ids
    assert got[::2] == got[1::2] == [greedy_by_generate(model, p) for p in PROMPTS]


def test_one_prompt_eight_times_equals_eight_prompts_once(model):
    same(run(model, [PROMPTS[0]], 8), run(model, [PROMPTS[0]] * 8, 1))


def test_neither_batching_nor_finished_rows_change_a_row(model):
    whole = run(model, repeats=4)
    assert len({len(c) for c in whole.completion_ids}) > 2, (
        "rows must end at different times for this to mean much"
    )
    same(run(model, repeats=4, max_rows=4), whole)


def test_same_seed_same_rows_and_another_seed_other_rows(model):
    assert run(model, seed=3) == run(model, seed=3)
    assert run(model, seed=3).completion_ids != run(model, seed=4).completion_ids


def test_the_end_token_ends_a_row_and_only_its_absence_is_clipped(model):
    got = run(model, repeats=8)
    for ids, clipped in zip(got.completion_ids, got.clipped, strict=True):
        assert EOS not in ids[:-1] and clipped == (ids[-1] != EOS) and (not clipped or len(ids) == 12)
    assert 0 < sum(got.clipped) < len(got.clipped)


def test_first_tokens_follow_the_softmax(model):
    n, temperature = 4000, 1.3
    first = run(model, [PROMPTS[2]], n, max_new_tokens=1, temperature=temperature).completion_ids
    counts = torch.bincount(torch.tensor(first)[:, 0], minlength=40)
    with torch.no_grad():
        probs = torch.softmax(model(torch.tensor([PROMPTS[2]])).logits[0, -1] / temperature, -1)
    assert stats.chisquare(counts.numpy(), (probs.double() / probs.double().sum() * n).numpy()).pvalue > 1e-3


def test_top_p_keeps_the_fewest_tokens_that_reach_it():
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().expand(1000, 4)
    token, entropy = draw(logits, torch.linspace(0, 0.999, 1000), top_p=0.7)
    assert set(token.tolist()) == {0, 1} and abs((token == 0).float().mean().item() - 0.5 / 0.8) < 2e-3
    assert entropy[0].item() == pytest.approx(
        -(5 / 8 * torch.tensor(5 / 8).log() + 3 / 8 * torch.tensor(3 / 8).log()).item()
    )


def test_entropies_match_a_direct_computation(model):
    got = run(model, temperature=0.7)
    for row, (ids, entropy) in enumerate(zip(got.completion_ids, got.entropy, strict=True)):
        prompt = PROMPTS[row // 3]
        with torch.no_grad():
            logp = torch.log_softmax(
                model(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1] / 0.7, -1
            )
        assert entropy == pytest.approx(-(logp.exp() * logp).sum(-1).mean().item(), abs=1e-4)


def test_train_mode_and_gradient_checkpointing_survive(model):
    want = run(model)
    model.train()
    model.gradient_checkpointing_enable()
    assert run(model) == want and model.training
    model.gradient_checkpointing_disable()
    model.eval()


def test_other_architectures_agree_with_generate():
    torch.manual_seed(0)
    gpt2 = GPT2LMHeadModel(
        GPT2Config(vocab_size=40, n_embd=32, n_layer=2, n_head=4, n_positions=32, initializer_range=0.3)
    )
    window = MistralForCausalLM(
        MistralConfig(
            vocab_size=40,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            sliding_window=4,
            initializer_range=0.3,
        )
    )
    assert can_branch(gpt2) and not can_branch(window), (
        "a sliding window would count the other branches' tokens"
    )
    for other in (gpt2, window):
        got = run(other, temperature=0, repeats=1).completion_ids
        assert got == [greedy_by_generate(other, p) for p in PROMPTS]
        assert len(set(map(tuple, run(other, repeats=4).completion_ids))) > 8


def test_the_fallback_draws_what_the_branches_draw(model, monkeypatch):
    want = run(model)
    monkeypatch.setattr("pzlib.engine.sampling.can_branch", lambda model: False)
    same(run(model), want)


def test_a_models_own_penalties_do_not_reach_the_fallback(model, monkeypatch):
    want = run(model)
    monkeypatch.setattr("pzlib.engine.sampling.can_branch", lambda model: False)
    monkeypatch.setattr(model.generation_config, "repetition_penalty", 5.0)
    same(run(model), want)
    assert model.generation_config.repetition_penalty == 5.0


def test_a_window_longer_than_the_trial_is_seen_too():
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = MistralConfig(vocab_size=40, num_key_value_heads=1, **sizes)
    for window, branches in ((4096, False), (None, True)):
        config.sliding_window = window
        assert can_branch(MistralForCausalLM(config)) == branches


def test_an_empty_prompt_is_refused_in_words(model):
    with pytest.raises(ValueError, match="prompt_ids: a prompt without tokens"):
        run(model, [[5], []])


def test_what_all_prompts_begin_with_is_read_once(model, monkeypatch):
    head = [7, 8, 9, 10, 11, 12]
    prompts, read = [[*head, *own] for own in PROMPTS], []
    want = run(model, prompts)
    hook = model.register_forward_pre_hook(lambda m, a, k: read.append(k["input_ids"].numel()), with_kwargs=True)
    monkeypatch.setattr(sampling, "SHARED", len(head))
    got = run(model, prompts)
    hook.remove()
    same(got, want)
    assert read[:2] == [len(head), len(prompts) * max(map(len, PROMPTS))]
