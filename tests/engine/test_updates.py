"""Several updates of one batch: TRL's own mini-batches, with the run's step still a batch; and two losses' sum."""

import pytest
import torch
from skilled import batches_of, whole_and_stopped
from test_train import compare, run, weights  # noqa: F401  (run is a fixture)
from trl import GRPOTrainer

from pzlib import train as module
from pzlib.engine.models import load
from pzlib.engine.plan import plan
from pzlib.run import Run
from pzlib.runs.folder import RunFolder
from pzlib.train import train
from tests.bench.equality import gradient_changes


def test_a_batch_is_cut_into_mini_batches_and_no_row_comes_twice(run):  # noqa: F811
    settings = run(updates_per_batch=4, passages=4, steps=2, micro_batch_rows=10)
    args = module.trl_arguments(settings, RunFolder(settings.folder))
    rows = settings.rows_per_step  # 80
    assert (args.per_device_train_batch_size, args.gradient_accumulation_steps) == (10, 2)
    assert (args.steps_per_generation, args.num_iterations, args.max_steps) == (8, 1, 8)
    trainer, batches = batches_of(settings)
    assert trainer.state.global_step == 8 and sum(len(x["advantages"]) for x in batches) == 2 * rows
    seen = [tuple(row) for x in batches[:8] for row in x["completion_ids"].tolist()]
    assert len(seen) == rows and all("old_per_token_logps" in x for x in batches), "of the policy that sampled"


def test_steps_metrics_and_files_count_batches_and_the_clips_act(run):  # noqa: F811
    asked = []

    def evaluate(model, tokenizer, step):
        asked.append(step)
        return []

    settings = run(updates_per_batch=4, passages=4, steps=4, eval_every=2, save_every=2, learning_rate=3e-3)
    folder = train(settings, evaluate=evaluate)
    metrics = folder.metrics()
    assert metrics["step"].tolist() == [1, 2, 3, 4] == folder.episode_steps() and asked == [0, 2, 4]
    kept = sorted(path.name for path in folder.path.glob("checkpoints/checkpoint-*"))
    assert kept == ["checkpoint-2", "checkpoint-4"] and (folder.path / "model-2").is_dir()
    assert load(run(model=f"{settings.run_id}@4"))[0].num_parameters()
    shares = metrics[["predictor/ratio_clipped", "generator/ratio_clipped"]]
    assert (shares.max() > 0).all() and (shares.max() < 1).all()
    assert "predictor/ratio_clipped" not in train(run(steps=1)).metrics()


def test_the_share_of_clipped_tokens_by_hand():
    from types import SimpleNamespace

    from pzlib.engine.updates import Clips

    method = SimpleNamespace(mask_prompts={(5,)}, has_generator=True, metrics={})
    args = SimpleNamespace(
        epsilon=0.2, epsilon_high=0.28, delta=2.0, loss_type="dapo", importance_sampling_level="token"
    )
    ratios = torch.tensor([[1.3, 1.2, 1.0], [0.7, 1.3, 3.0], [1.3, 0.7, 9.0], [9.0, 9.0, 9.0]])
    clips = Clips(method, args)
    clips.listening(lambda **_: SimpleNamespace(log_probs=ratios.log()))()
    clips.count(
        {
            "prompt_ids": torch.tensor([[4], [4], [5], [5]]),
            "prompt_mask": torch.ones(4, 1, dtype=torch.long),
            "advantages": torch.tensor([1.0, -1.0, 1.0, 0.0]),
            "completion_mask": torch.tensor([[1, 1, 1], [1, 1, 1], [1, 1, 0], [1, 1, 1]]),
            "old_per_token_logps": torch.zeros(4, 3),
        }
    )
    # predictor: 1.3 up, then 0.7 and the dual clip's 3.0 down, of 6; generator: 1.3 of 2, a row of no advantage apart
    assert clips.counts.tolist() == [[3, 6], [1, 2]]
    clips.on_step_end(None, None, None)
    assert method.metrics == {"predictor/ratio_clipped": 0.5, "generator/ratio_clipped": 0.5}
    assert not clips.counts.any()


@pytest.mark.parametrize("loss", ["dapo", "cispo"])
def test_with_ratios_off_one_row_dropping_is_as_exact_as_with_one_update(run, loss):  # noqa: F811
    trainer, batches = batches_of(run(updates_per_batch=4, filter="none", passages=4, group=8, loss=loss, steps=2))
    trainer.current_gradient_accumulation_steps = 1
    assert len(batches) == 8 and trainer.drop_rows
    changes = gradient_changes(trainer, batches)
    assert 0 < changes["exact"] < 1e-6


def test_the_trajectory_is_plain_trls(run, monkeypatch):  # noqa: F811
    ours = train(run(updates_per_batch=2, name="ours"))
    monkeypatch.setattr(module.PZTrainer, "compute_loss", GRPOTrainer.compute_loss)
    monkeypatch.setattr(module.Clips, "on_step_end", lambda *_, **__: None)
    plain = train(run(updates_per_batch=2, name="plain", drop_rows=False))
    start = load(run())[0].state_dict()
    apart, moved = (
        sum((x - y).norm() ** 2 for x, y in zip(weights(ours).values(), other.values(), strict=True)) ** 0.5
        for other in (weights(plain), start)
    )
    assert 0 < apart < 1e-2 * moved, "rounding of rows that are read apart"


@pytest.mark.parametrize("changes", [{}, {"objective": "rlp", "passages": 4, "ema": 0.5}])
def test_stopped_between_it_goes_on_bit_for_bit(run, tiny_model, changes):  # noqa: F811
    settings = {"updates_per_batch": 2, "steps": 5, "save_every": 2, "eval_every": 1, **changes}
    if changes:
        settings["model"] = str(tiny_model)
    whole, resumed = whole_and_stopped(lambda name: run(**settings, name=name), step=3)
    compare(whole, resumed)
    assert whole.episodes().equals(resumed.episodes())


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"updates_per_batch": 7}, "updates_per_batch: 40 rows of a process make no 7 equal parts; .*such as 5"),
        ({"updates_per_batch": 2, "objective": "sft"}, "updates_per_batch: sft samples no batch; set it to 1"),
        ({"generator_weight": 0.5, "objective": "random_span"}, "generator_weight: random_span has no generator"),
        ({"generator_weight": 0.5, "loss": "grpo"}, "generator_weight: loss grpo is no sum over tokens; leave it out"),
        ({"generator_weight": 0.5, "kl": 0.1, "drop_rows": False}, "generator_weight: a KL term .* has no advantage"),
        ({"generator_weight": 0.5, "entropy_bonus": 0.1, "drop_rows": False}, "generator_weight: nor has an entropy"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(settings, said):
    with pytest.raises(ValueError, match=said):
        Run(tier="smoke", **settings)


def test_updates_must_divide_the_rows_of_a_process_too(run):  # noqa: F811
    settings = run(passages=2, updates_per_batch=40)
    with pytest.raises(
        ValueError, match="updates_per_batch: 20 rows of a process make no 40 equal parts; .*such as 20"
    ):
        module.trl_arguments(settings, RunFolder(settings.folder), processes=2)


def test_a_plan_counts_the_reading_beforehand():
    one, four = (plan(Run(tier="paper", updates_per_batch=n)).work() for n in (1, 4))
    assert four.training_flops == pytest.approx(one.training_flops * 5 / 4)


@pytest.mark.parametrize("updates", [1, 2])
@pytest.mark.parametrize("loss", ["dapo", "cispo"])
def test_a_weight_makes_the_loss_the_sum_of_two_trl_losses(run, loss, updates):  # noqa: F811
    weight = 0.3
    settings = run(
        generator_weight=weight, filter="none", passages=4, group=8, steps=1, loss=loss, updates_per_batch=updates
    )
    trainer, batches = batches_of(settings)
    model, asked = trainer.model.train().double(), trainer.method.mask_prompts
    trainer.current_gradient_accumulation_steps = 1

    def gradient(compute, inputs):
        model.zero_grad()
        called = lambda attention_mask, **rest: model(  # noqa: E731
            attention_mask=attention_mask, position_ids=(attention_mask.cumsum(1) - 1).clamp_min(0), **rest
        )
        compute(called if compute is plain else model, inputs).backward()
        return torch.cat([p.grad.flatten() for p in model.parameters()])

    def plain(called, inputs):
        return GRPOTrainer.compute_loss(trainer, called, inputs)

    tokens = [0, 0]
    split = []
    for inputs in batches:
        exact = {k: v.double() if v.is_floating_point() else v for k, v in inputs.items()}
        rows = [tuple(i for i, m in zip(*row, strict=True) if m) in asked
                for row in zip(inputs["prompt_ids"].tolist(), inputs["prompt_mask"].tolist(), strict=True)]  # fmt: skip
        mine = torch.tensor(rows)
        in_loss = (inputs["completion_mask"] * inputs["tool_mask"]).sum(1)
        tokens = [tokens[0] + int(in_loss[mine].sum()), tokens[1] + int(in_loss[~mine].sum())]
        split.append((exact, mine))
    assert min(tokens) > 0 and dict(trainer.method.loss_tokens) == dict(
        zip(("generator", "predictor"), tokens, strict=True)
    )
    for exact, mine in split:
        ours = gradient(trainer.compute_loss, exact)
        apart = [
            gradient(plain, {
                k: (v[rows] if v.dim() else torch.tensor(float(n), dtype=torch.float64)) for k, v in exact.items()
            })
            for rows, n in ((mine, tokens[0]), (~mine, tokens[1]))
        ]  # fmt: skip
        wanted = weight * apart[0] + apart[1]
        assert apart[0].norm() > 0 and apart[1].norm() > 0
        assert (ours - wanted).norm() < 1e-6 * wanted.norm()
