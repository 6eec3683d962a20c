"""The moving average by hand, against a second book-keeping, and what it weighs: one copy of the weights, no more."""

import json
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, TrainerCallback

from pzlib.engine.models import AVERAGE, Average, load
from pzlib.masking import Passage
from pzlib.run import Run
from pzlib.runs.folder import RunFolder
from pzlib.train import make_trainer

TEXTS = ["Anna lives in Rome near the old river .", "Bela works at the school and she is tall ."] * 4
PASSAGES = [Passage(f"p{i}", "", text, len(text.split())) for i, text in enumerate(TEXTS)]


@given(st.floats(0.01, 0.99), st.lists(st.floats(-5, 5), min_size=1, max_size=6))
def test_after_n_steps_the_start_weighs_keep_to_the_n(keep, values):
    theta = torch.nn.Linear(1, 1, bias=False).double()
    average = Average(theta, keep)
    want = theta.weight.item()
    for value in values:
        with torch.no_grad():
            theta.weight.fill_(value)
        average.on_optimizer_step(None, None, None, theta)
        want = keep * want + (1 - keep) * value
    assert average.model.weight.item() == pytest.approx(want, abs=1e-9)


@pytest.fixture
def trainer(tiny_model, home):
    run = Run(
        tier="smoke", objective="rlp", model=str(tiny_model), steps=4, passages=2, group=2, min_context=2,
        max_completion_tokens=4, learning_rate=1e-2, ema=0.9, save_every=2,
    )  # fmt: skip
    model, tokenizer = load(run)
    return make_trainer(run, model, tokenizer, PASSAGES, RunFolder(run.folder).open(run))


def test_it_follows_every_optimizer_step_and_starts_at_the_policy(trainer):
    average, seen = trainer.method.average, []
    theta = [w.detach().clone().double() for w in trainer.model.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(average.model.parameters(), trainer.model.parameters(), strict=True))

    class Book(TrainerCallback):  # hears of a step after the trainer's own callbacks
        def on_step_end(self, args, state, control, model, **_):
            for own, now in zip(theta, model.parameters(), strict=True):
                own.copy_(0.9 * own + 0.1 * now.detach().double())
            pairs = zip(average.model.parameters(), theta, strict=True)
            seen.append(max(float((mean - own).abs().max()) for mean, own in pairs))

    trainer.add_callback(Book())
    trainer.train()
    moved = [float((a - b).abs().max()) for a, b in zip(average.model.parameters(), theta, strict=True)]
    assert len(seen) == 4 and max(seen) < 1e-6 and max(moved) < 1e-6
    apart = zip(average.model.parameters(), trainer.model.parameters(), strict=True)
    assert all(not torch.equal(mean, own) for mean, own in apart)


def test_it_is_one_copy_of_the_weights_without_gradients_or_optimizer_state(trainer):
    trainer.train()
    copied, model = trainer.method.average.model, trainer.model
    assert sum(w.numel() for w in copied.parameters()) == sum(w.numel() for w in model.parameters())
    assert copied.lm_head.weight is copied.get_input_embeddings().weight  # tied, like the model's
    ours, own = ({w.data_ptr() for w in m.parameters()} for m in (copied, model))
    assert not ours & own
    assert not any(w.requires_grad or w.grad is not None for w in copied.parameters()) and not copied.training
    optimized = {w.data_ptr() for group in trainer.optimizer.param_groups for w in group["params"]}
    assert optimized == own
    assert type(copied).forward == type(model).forward and "forward" not in vars(copied)  # TRL patched the model's only


def test_it_lies_in_every_checkpoint_and_comes_back_from_there(trainer):
    trainer.train()
    held = trainer.args.output_dir + "/checkpoint-"
    assert AVERAGE in json.loads(open(f"{held}4/manifest.json").read())["files"]
    weights, two = load_file(f"{held}4/{AVERAGE}"), load_file(f"{held}2/{AVERAGE}")
    now = dict(trainer.method.average.model.named_parameters())
    assert weights.keys() == now.keys() and all(torch.equal(weights[name], now[name]) for name in now)
    assert not all(torch.equal(two[name], now[name]) for name in now)
    args, other = trainer.args, Average(AutoModelForCausalLM.from_config(trainer.model.config), 0.9)
    other.on_train_begin(args, SimpleNamespace(global_step=2), None, trainer.model)
    assert all(torch.equal(two[name], weight) for name, weight in other.model.named_parameters())
    save_file({"a": torch.ones(1)}, f"{held}2/{AVERAGE}")
    with pytest.raises(ValueError, match="average.safetensors: holds other weights than the model"):
        other.on_train_begin(args, SimpleNamespace(global_step=2), None, trainer.model)


@pytest.mark.parametrize("ema", [0.0, 1.0, -0.5, 1.5, float("nan")])
def test_a_rate_out_of_range_is_refused(ema):
    with pytest.raises(ValueError, match="ema: must be"):
        Run(objective="rlp", ema=ema)
