"""Quiet-STaR: its loss and reward by hand, thoughts in parallel as thoughts alone, a head that is saved and goes on."""

import math

import pytest
import torch
from safetensors.torch import load_file
from skilled import passages
from test_train import compare, run, weights  # noqa: F401  (run is a fixture)
from transformers import AutoModelForCausalLM

from pzlib.engine import thoughts
from pzlib.engine.models import load
from pzlib.engine.plan import plan
from pzlib.engine.processes import check
from pzlib.objectives.quiet_star import REINFORCE_TEMPERATURE, losses
from pzlib.run import Run
from pzlib.runs.folder import RunFolder
from pzlib.train import train


@pytest.fixture
def quiet(run, tiny_model):  # noqa: F811
    def make(**changes):
        sizes = {"objective": "quiet_star", "model": str(tiny_model), "max_completion_tokens": 3, "passages": 2}
        return run(**sizes | changes)

    return make


def logits(*probabilities):
    return torch.tensor(probabilities).log()


def test_loss_and_reward_by_hand():
    """One place, two thoughts of one token over three words, two true tokens, the second beyond the text's end."""
    found = {
        "targets": torch.tensor([[1, -100]]),
        "bare": logits([[0.25, 0.5, 0.25], [1 / 3] * 3]),  # (1, 2, 3)
        "after": logits([[0.125, 0.75, 0.125], [1 / 3] * 3], [[0.75, 0.125, 0.125], [1 / 3] * 3])[None],
        "thought": logits([[0.5, 0.25, 0.25]], [[0.125, 0.75, 0.125]])[None],  # (1, 2, 1, 3)
        "weight": torch.tensor([[[1.0], [0.0]]]),  # the first thought is believed whole, the second not at all
    }
    got = {name: value.item() for name, value in losses(found, torch.tensor([[[0], [1]]])).items()}
    with_, without = math.log(0.75), math.log(0.5)
    mean = (with_ + without) / 2
    assert got["nll"] == pytest.approx(-mean) and got["nll_without"] == pytest.approx(-without)
    gain = with_ - mean  # of the first thought; the second lost as much, which is left out
    assert got["gain"] == pytest.approx(gain / 2) and got["weight"] == pytest.approx(0.5)
    hot = [p ** (1 / REINFORCE_TEMPERATURE) for p in (0.5, 0.25, 0.25)]
    assert got["policy"] == pytest.approx(-gain * math.log(hot[0] / sum(hot)) / 2, rel=1e-5)


def test_only_the_thoughts_own_tokens_are_paid_and_the_gain_is_a_constant():
    torch.manual_seed(0)
    found = {
        "targets": torch.tensor([[1, 2]]), "bare": torch.randn(1, 2, 3), "after": torch.randn(1, 2, 2, 3),
        "thought": torch.randn(1, 2, 4, 3), "weight": torch.rand(1, 2, 1),
    }  # fmt: skip
    leaves = {name: value.requires_grad_() for name, value in found.items() if name != "targets"}
    drawn = torch.tensor([[[0, 1, 2, 0], [1, 1, 0, 2]]])
    losses(found, drawn)["policy"].backward()
    assert leaves["after"].grad is leaves["bare"].grad is leaves["weight"].grad is None
    moved = leaves["thought"].grad.abs().sum((0, 2, 3))
    assert (moved > 0).sum() == 1, "of two thoughts one is above their mean"
    losses(found, drawn)["nll"].backward()
    assert all(leaves[name].grad.abs().sum() > 0 for name in ("after", "bare", "weight"))


@pytest.fixture
def parts(tiny_model):
    model = AutoModelForCausalLM.from_pretrained(tiny_model).double()
    head = thoughts.Head(model, [5, 6], 10.0, seed=1).double()
    ids = torch.tensor([3, 1, 4, 1, 5, 9, 2, 6])
    return model, head, ids, torch.rand(7, 2, 3, generator=torch.Generator().manual_seed(0))


def test_in_parallel_thoughts_are_what_each_would_be_alone(parts, monkeypatch):
    model, head, ids, uniforms = parts
    drawn = thoughts.grow(model, head, ids, uniforms)
    found = thoughts.read(model, head, ids, drawn, talk=3)
    monkeypatch.setattr(thoughts, "longest_of", lambda _: 30)  # a few branches a line
    cut = thoughts.read(model, head, ids, drawn, talk=3)
    monkeypatch.setattr(thoughts, "can_branch", lambda _: False)
    assert torch.equal(thoughts.grow(model, head, ids, uniforms), drawn)
    alone = thoughts.read(model, head, ids, drawn, talk=3)
    there = (found["targets"] != -100)[..., None]
    assert found["targets"].tolist()[4:] == [[9, 2, 6], [2, 6, -100], [6, -100, -100]]
    for other in (cut, alone):
        for name in ("thought", "weight"):
            assert torch.allclose(found[name], other[name], atol=1e-5), name
        assert torch.allclose(found["bare"] * there, other["bare"] * there, atol=1e-5)
        assert torch.allclose(found["after"] * there[:, None], other["after"] * there[:, None], atol=1e-5)


def test_a_thought_is_tried_on_the_true_tokens_and_sees_nothing_beyond_its_place(parts):
    """By hand: text up to the place, start, thought, end, true tokens, as one plain line of embeddings."""
    model, head, ids, uniforms = parts
    drawn = thoughts.grow(model, head, ids, uniforms)
    found = thoughts.read(model, head, ids, drawn, talk=3)
    embed, (start, end) = model.get_input_embeddings(), head.marks * head.scale
    line = [*embed(ids[:3]), start, *embed(drawn[2, 1]), end, *embed(ids[3:5])]
    said = model(inputs_embeds=torch.stack(line)[None], output_hidden_states=True)
    out, states = said.logits[0], said.hidden_states[-1][0]
    believed = head.believed(states[2:3], states[7:8])  # of the text's token and of the thought's end
    assert torch.allclose(found["weight"][2, 1], believed[0], atol=1e-6)
    assert torch.allclose(found["thought"][2, 1], out[3:6], atol=1e-5)
    assert torch.allclose(found["after"][2, 1], out[7:10], atol=1e-5)


def test_two_steps_move_everything_and_the_model_that_is_left_is_a_plain_one(quiet, tiny_model, capfd):
    settings = quiet(steps=2, thought_scale=2.0)
    folder = train(settings)
    metrics = folder.metrics()
    assert folder.state() == "complete" and metrics["grad_norm"].gt(0).all()
    assert metrics["loss"].tolist() == pytest.approx(
        (metrics["thought/nll_with"] + settings.policy_weight * metrics["thought/policy"]).tolist(), rel=1e-4
    )
    assert metrics["thought/reward"].gt(0).all() and metrics["thought/weight"].between(0, 1).all()
    assert "thoughts." not in " ".join(load_file(folder.path / "model/model.safetensors"))
    before = AutoModelForCausalLM.from_pretrained(tiny_model)
    assert not [n for n, w in weights(folder).items() if torch.equal(w, before.state_dict()[n])]
    begun, learned = (thoughts.Head(before, [5], 2.0, seed=0) for _ in range(2))
    learned.load(folder.path / "model")
    assert not [n for n, w in learned.state_dict().items() if torch.equal(w, begun.state_dict()[n])]
    assert (folder.path / "model-1" / thoughts.FILE).is_file()
    after = quiet(model=settings.run_id, steps=1, name="after", thought_scale=2.0)  # goes on with the head, too
    model, tokenizer = load(after)
    method = after.method(after, passages(3), tokenizer, model=model)
    assert all(torch.equal(w, learned.state_dict()[n]) for n, w in method.head.state_dict().items())


@pytest.mark.parametrize("changes", [{}, {"micro_batch_rows": 2, "group": 3}])
def test_stopped_between_it_goes_on_bit_for_bit(quiet, changes):
    settings = {"steps": 4, "save_every": 2, "eval_every": 1, **changes}

    def evaluate(model, tokenizer, step):
        if step == 3 and stopping:
            raise RuntimeError("stop")
        return [{"task": "a", "group": "general", "n": 1, "correct": 1, "accuracy": 1.0, "length": 1.0, "reasoned": 0}]

    stopping = True
    with pytest.raises(RuntimeError):
        train(quiet(**settings, name="stopped"), evaluate=evaluate)
    stopping = False
    whole, resumed = (train(quiet(**settings, name=name), evaluate=evaluate) for name in ("whole", "stopped"))
    compare(whole, resumed)
    heads = [(folder.path / "model" / thoughts.FILE).read_bytes() for folder in (whole, resumed)]
    assert heads[0] == heads[1]


def test_one_micro_batch_or_several_give_the_same_steps(quiet):
    whole, cut = (train(quiet(micro_batch_rows=rows, passages=4, name=f"m{rows}")) for rows in (4, 1))
    a, b = compare(whole, cut, exactly=False)
    for name in ("loss", "grad_norm", "thought/reward"):
        assert a[name].tolist() == pytest.approx(b[name].tolist(), rel=1e-4), name


def test_what_it_cannot_do_is_refused_in_words(quiet):
    with pytest.raises(ValueError, match="lora_rank: adapters would leave the mixing head untrained; set it to 0"):
        quiet(lora_rank=2)
    with pytest.raises(ValueError, match="sharding: with 'fsdp' no process can sample thoughts; set sharding to ddp"):
        check(Run(tier="paper", objective="quiet_star", processes=2, sharding="fsdp"))
    with pytest.raises(ValueError, match="updates_per_batch: quiet_star samples no batch"):
        quiet(updates_per_batch=2)
    with pytest.raises(ValueError, match="talk_tokens: must be at least 1"):
        quiet(talk_tokens=0)


def test_the_paper_tier_is_the_papers_code():
    """n_ahead 12, n_ahead_talk 4, n_passes 2, batch 8, 1,000 texts, 1e-6 after 20 steps, decay 0.001, norm 1."""
    code = Run(tier="paper", objective="quiet_star")
    assert (code.max_completion_tokens, code.talk_tokens, code.group, code.passages) == (12, 4, 2, 8)
    assert code.model == "mistralai/Mistral-7B-v0.1" and code.corpus_limit == code.steps * code.passages == 1000
    assert (code.learning_rate, code.warmup_steps, code.weight_decay, code.max_grad_norm) == (1e-6, 20, 0.001, 1.0)
    assert (code.policy_weight, code.thought_scale, REINFORCE_TEMPERATURE) == (1e6, 100.0, 3.0)


def test_a_plan_counts_every_thoughts_tokens():
    few, many = (plan(Run(tier="mini", objective="quiet_star", group=g)).work() for g in (2, 4))
    width = 4 + 1 + 4
    assert few.tokens_trained_on >= 8 * 96 * (1 + 2 * width)
    assert 1.7 < many.tokens_trained_on / few.tokens_trained_on < 2.1
    assert "GiB" in str(plan(Run(tier="mini", objective="quiet_star")))


def test_an_empty_folder_has_no_head_to_go_on_from(parts, tmp_path):
    model, head, *_ = parts
    before = {n: w.clone() for n, w in head.state_dict().items()}
    head.load(tmp_path)
    assert all(torch.equal(w, before[n]) for n, w in head.state_dict().items())
    assert RunFolder(tmp_path).state() != "complete"
