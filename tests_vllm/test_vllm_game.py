"""The whole game on real vLLM, in the training process: the weights it draws with are those being trained."""

import psutil
import pytest
import torch
from transformers import AutoModelForCausalLM
from trl.generation.vllm_generation import VLLMGeneration
from watching import watch

from pzlib import train as train_module
from pzlib.engine import vllm
from pzlib.objectives import pretrainzero
from pzlib.run import Run
from pzlib.train import train

TIMES = ["seconds", "seconds_generation", "seconds_training", "seconds_evaluation"]


def run(**changes):
    return Run(**{"tier": "smoke", "use_vllm": True, "steps": 3, "learning_rate": 1e-3} | changes)


@pytest.fixture
def small_blocks(monkeypatch):
    """A cache in blocks of 32 tokens (on processors 128, more than a prompt of tinybase; on a GPU 16), and counters."""
    plain = vllm.engine_settings
    monkeypatch.setattr(
        vllm, "engine_settings", lambda run: plain(run) | {"block_size": 32, "disable_log_stats": False}
    )


def test_vllm_draws_with_the_weights_being_trained_and_reads_shared_prompts_once(monkeypatch, small_blocks):
    seen = watch(monkeypatch)
    folder = train(run())
    assert folder.state() == "complete"
    episodes, metrics = folder.episodes(), folder.metrics()
    assert set(episodes["step"]) == {1, 2, 3} and set(episodes["role"]) == {"generator", "predictor"}
    apart = seen.differences()
    print("largest difference of log-probabilities, by step:", apart)
    assert set(apart) == {1, 2, 3} and max(apart.values()) < 1e-4
    assert (metrics["sampling/sampling_logp_difference/max"] < 1e-4).all()
    assert (metrics["sampling/importance_sampling_ratio/mean"] - 1).abs().max() < 1e-4
    assert (metrics["sampling/importance_sampling_ratio/truncated"] == 0).all()
    last = AutoModelForCausalLM.from_pretrained(folder.path / "model")
    moved = [*seen.weights.values(), dict(last.named_parameters())]
    for before, after in zip(moved, moved[1:], strict=False):
        assert all(not torch.equal(before[name], after[name]) for name in before)
    share = seen.prefixes["vllm:prefix_cache_hits"] / seen.prefixes["vllm:prefix_cache_queries"]
    print("share of prompt tokens found in the prefix cache:", share)
    assert share > 0.3


def test_a_broken_sync_is_seen(monkeypatch):
    monkeypatch.setattr(VLLMGeneration, "sync_weights", lambda self: self.llm.reset_prefix_cache())
    seen = watch(monkeypatch)
    metrics = train(run(learning_rate=3e-4)).metrics()  # at 1e-3 the largest difference of step 2 is as large as any
    apart = seen.differences()
    print("with the sync broken:", apart)
    assert apart[1] < 1e-4 < 1e-2 < apart[2] < apart[3]
    assert (metrics["sampling/sampling_logp_difference/max"][1:] > 1e-2).all()


@pytest.mark.parametrize("objective", ["random_span", "random_next_token", "entropy_next_token", "rlvr", "rpt", "rlp"])
def test_every_objective_with_rollouts_draws_with_the_weights_being_trained(objective, monkeypatch):
    seen = watch(monkeypatch)
    folder = train(run(objective=objective, steps=2, save_every=2))
    assert folder.state() == "complete" and set(folder.episodes()["step"]) == {1, 2}
    assert set(seen.differences()) == {1, 2} and max(seen.differences().values()) < 1e-4
    if objective == "rlp":  # what opens the box closes the thought, and ends what is drawn
        (closing,) = seen.trainer.method.closing
        closed = [ids for ids in seen.completions if closing in ids]
        assert closed and all(ids.index(closing) == len(ids) - 1 for ids in closed)


def test_vllm_draws_with_what_adapters_make_of_the_weights(monkeypatch):
    seen = watch(monkeypatch)
    train(run(lora_rank=4, learning_rate=1e-2))
    assert set(seen.differences()) == {1, 2, 3} and max(seen.differences().values()) < 1e-4
    # TRL merges them for vLLM and takes them out again: what they are put upon changes by rounding, and no more
    moved = [name for name, weight in seen.weights[1].items() if not weight.allclose(seen.weights[3][name], 1e-6, 1e-6)]
    assert moved and all("lora_" in name for name in moved)


class Killed(Exception):
    pass


def test_an_engine_ends_with_its_run_also_where_that_fails(monkeypatch):
    def held():
        return psutil.Process().memory_full_info().uss / 2**20

    train(run(steps=1, seed=1))
    before = held()
    train(run(steps=1, seed=2))
    with monkeypatch.context() as patched:
        patched.setattr(pretrainzero.PretrainZero, "fill", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(run(steps=1, seed=3))
    with monkeypatch.context() as patched:  # it is built, and what comes after it fails
        patched.setattr(train_module, "Recorder", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(run(steps=1, seed=4))
    print("MiB more after three more engines:", held() - before)
    assert held() - before < 500  # each engine's cache alone has 1,024


def test_a_killed_run_goes_on_as_if_nothing_had_been(monkeypatch):
    whole = train(run(steps=4, save_every=2, name="whole"))
    with monkeypatch.context() as patched:
        fill = pretrainzero.PretrainZero.fill

        def dies(self, passages, ask, rng, step=1, *more):
            if step == 4:
                raise Killed
            return fill(self, passages, ask, rng, step, *more)

        patched.setattr(pretrainzero.PretrainZero, "fill", dies)
        with pytest.raises(Killed):
            train(run(steps=4, save_every=2, name="broken"))
    broken = train(run(steps=4, save_every=2, name="broken"))
    assert broken.metrics().drop(columns=TIMES).equals(whole.metrics().drop(columns=TIMES))
    ours, theirs = (AutoModelForCausalLM.from_pretrained(f.path / "model").state_dict() for f in (whole, broken))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-4), ("bfloat16", 0.5)])
def test_the_engine_computes_in_the_dtype_of_the_run(dtype, bound, monkeypatch):
    seen = watch(monkeypatch)
    train(run(steps=1, dtype=dtype))
    length = run().max_prompt_tokens + run().max_completion_tokens
    assert seen.config.dtype == getattr(torch, dtype) and seen.config.max_model_len == length
    assert seen.differences()[1] < bound


def test_left_to_itself_vllm_would_read_our_weights_as_bfloat16(monkeypatch):
    seen = watch(monkeypatch)
    monkeypatch.setattr(vllm, "engine_settings", lambda run: {"enforce_eager": True})
    train(run(steps=1))
    assert seen.config.dtype == torch.bfloat16
    assert seen.differences()[1] > 1e-4


def test_ratios_above_the_cap_are_cut_and_their_share_is_told(monkeypatch):
    monkeypatch.setattr(vllm, "IMPORTANCE_CAP", 1.0005)
    metrics = train(run(steps=1, dtype="bfloat16")).metrics()
    assert 0 < metrics["sampling/importance_sampling_ratio/truncated"][0] < 1
    assert metrics["sampling/importance_sampling_ratio/max"][0] == pytest.approx(1.0005)
