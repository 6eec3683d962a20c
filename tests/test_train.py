"""Training through TRL on a tiny model: every parameter moves, equal settings give equal results, errors are
in words."""

import inspect
import json
import os
import random
import shutil
import subprocess
import sys
import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file
from skilled import batches_of, passages
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from transformers.integrations import integration_utils
from trl import GRPOTrainer

from pzlib import train as module
from pzlib.engine import packing
from pzlib.engine.models import fingerprint, load
from pzlib.rewards import group_advantages
from pzlib.run import Run
from pzlib.runs.callbacks import kept
from pzlib.runs.folder import RunFolder
from pzlib.train import fitting, make_trainer, train
from tests.bench.equality import gradient_changes

TIMES = ["seconds", "seconds_generation", "seconds_training", "seconds_evaluation"]


@pytest.fixture
def run(skilled):
    def make(**changes):
        sizes = {
            "tier": "smoke",
            "model": str(skilled / "model"),
            "corpus": str(skilled / "corpus.jsonl"),
            "steps": 3,
            "min_tokens": 4,
            "max_prompt_tokens": 32,
            "max_completion_tokens": 8,
            "learning_rate": 1e-3,
        }
        return Run(**sizes | changes)

    return make


def weights(folder):
    return AutoModelForCausalLM.from_pretrained(folder.path / "model").state_dict()


def compare(a, b, exactly=True):
    ours, theirs = (f.metrics().drop(columns=TIMES) for f in (a, b))
    if exactly:
        assert ours.equals(theirs)
        assert all(torch.equal(x, y) for x, y in zip(weights(a).values(), weights(b).values(), strict=True))
    return ours, theirs


def test_three_real_steps_change_every_parameter(run, skilled):
    folder = train(run())
    before = AutoModelForCausalLM.from_pretrained(skilled / "model").state_dict()
    same = [name for name, value in weights(folder).items() if torch.equal(value, before[name])]
    assert not same and folder.state() == "complete"
    metrics = folder.metrics()
    assert metrics["step"].tolist() == [1, 2, 3] and (metrics["rows"] == run().rows_per_step).all()
    assert (metrics["rows_trained"] > 0).any() and (metrics["generator/legal"] > 0).all()
    episodes = folder.episodes()
    assert set(episodes["step"]) == {1, 2, 3} and set(episodes["role"]) == {"generator", "predictor"}


def test_a_complete_run_comes_back_at_once_and_other_settings_are_refused(run, monkeypatch):
    first = train(run(name="twice"))
    monkeypatch.setattr(module.models, "load", None)
    assert train(run(name="twice")).metrics().equals(first.metrics())
    with pytest.raises(ValueError, match="seed"):
        train(run(name="twice", seed=5))


def test_a_complete_run_is_not_returned_for_another_text_or_model(run, skilled, tmp_path):
    text, model = tmp_path / "articles.jsonl", tmp_path / "model"
    text.write_text((skilled / "corpus.jsonl").read_text())
    shutil.copytree(skilled / "model", model)
    settings = run(corpus=str(text), model=str(model), steps=2)
    done = train(settings)
    os.utime(text)  # read again, and found to say the same
    assert train(settings).metrics().equals(done.metrics())
    lines = text.read_text().splitlines(keepends=True)
    text.write_text("".join(lines[1:]))
    with pytest.raises(ValueError, match="made with corpus_digest .*give the run another name"):
        train(settings)
    assert done.state() == "complete"
    text.unlink()  # a finished run opens without what it was made from
    assert train(settings).state() == "complete"
    text.write_text("".join(lines))
    weights = load_file(model / "model.safetensors")
    save_file({name: weight + 1 for name, weight in weights.items()}, model / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match="made with model_fingerprint"):
        train(settings)


def test_equal_runs_are_equal_and_seeds_differ(run):
    a, b, c = (train(run(name=name, seed=seed)) for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    compare(a, b)
    assert not c.metrics()["tokens_completion"].equals(a.metrics()["tokens_completion"])


def test_trl_computes_the_advantages_we_store(run, monkeypatch):
    inputs, original = [], module.PZTrainer.compute_loss
    monkeypatch.setattr(
        module.PZTrainer,
        "compute_loss",
        lambda self, model, x, *a, **k: inputs.append(x) or original(self, model, x, *a, **k),
    )
    folder = train(run(filter="none", steps=1))
    episodes = folder.episodes()
    G = run().group
    ours = [
        round(a, 4)
        for i in range(0, len(episodes), G)
        for a in group_advantages(episodes["reward"][i : i + G].tolist(), G)
    ]
    assert ours == episodes["advantage"].round(4).tolist()
    fillers = run().rows_per_step - len(episodes)
    assert sorted(round(a, 4) + 0.0 for a in inputs[0]["advantages"].tolist()) == sorted(
        a + 0.0 for a in ours + [0.0] * fillers
    )
    assert any(ours)


@pytest.fixture
def exam(run, skilled):
    """Settings of RLVR on problems of the taught model's own kind: a passage with a hole, and the word in it."""
    rng = random.Random(0)
    words = [(passage.text, rng.choice(passage.text.split()[:-1])) for passage in passages(40, seed=5)]
    rows = [{"question": text.replace(word, "[mask]"), "answer": word} for text, word in words]
    (skilled / "problems.jsonl").write_text("\n".join(map(json.dumps, rows)))
    settings = {"objective": "rlvr", "corpus": str(skilled / "problems.jsonl"), "passages": 8, "save_every": 1}
    return lambda **changes: run(**settings | changes)


def test_rlvr_trains_on_problems_and_counts_what_the_verifier_said(exam, skilled):
    folder = train(exam())
    metrics, episodes = folder.metrics(), folder.episodes()
    assert (metrics["rows"] == 8 * 4).all() and set(episodes["role"]) == {"predictor"}
    said = metrics.filter(like="verdict/").fillna(0)
    assert said.sum(axis=1).tolist() == pytest.approx([1.0] * 3)
    assert set(episodes["verdict"]) <= {"right", "wrong", "no answer"}
    assert (metrics["rows_trained"] > 0).any()
    before = AutoModelForCausalLM.from_pretrained(skilled / "model").state_dict()
    assert any(not torch.equal(value, before[name]) for name, value in weights(folder).items())


def test_the_model_kept_half_way_is_that_of_a_run_half_as_long(exam):
    whole, half = train(exam(steps=4, name="whole")), train(exam(steps=2, name="half"))
    middle = AutoModelForCausalLM.from_pretrained(whole.path / "model-2").state_dict()
    assert all(torch.equal(middle[name], value) for name, value in weights(half).items())
    assert not (whole.path / "model-2.part").exists()
    after = train(exam(model="whole@2", steps=1, name="after"))  # and a run can start from it
    assert after.params()["model_fingerprint"] == fingerprint(AutoModelForCausalLM.from_pretrained(half.path / "model"))
    with pytest.raises(FileNotFoundError, match="the run keeps checkpoint-3, checkpoint-4, model, model-2"):
        train(exam(model="whole@1"))
    assert load(exam(model="whole@3"))[0].num_parameters()  # a checkpoint that is still there will do


def test_kept_models_are_thin_and_those_of_their_steps(run):
    sizes = {"objective": "random_span", "passages": 1, "dtype": "bfloat16"}
    full = train(run(**sizes, steps=4, save_every=1, name="full"))
    folder = train(run(**sizes, steps=4, save_every=1, keep_every=1, name="kept"))
    assert list(kept(folder)) == [1, 2, 3, 4] and list(kept(full)) == [2, 4]
    for step, dtype in ((1, torch.bfloat16), (2, torch.float32), (3, torch.bfloat16), (4, torch.float32)):
        assert {weight.dtype for weight in load_file(kept(folder)[step] / "model.safetensors").values()} == {dtype}
    for name, weight in load_file(full.path / "checkpoints/checkpoint-3/model.safetensors").items():
        assert torch.equal(load_file(kept(folder)[3] / "model.safetensors")[name], weight.bfloat16())
    assert {path.name for path in kept(folder)[3].iterdir()} == {path.name for path in kept(folder)[2].iterdir()} - {
        "training_args.bin"
    }
    for dtype in (None, "auto"):
        model = AutoModelForCausalLM.from_pretrained(kept(folder)[3], **({"dtype": dtype} if dtype else {}))
        assert model.dtype == torch.bfloat16
    assert all(torch.equal(value, weights(full)[name]) for name, value in weights(folder).items()), "nothing else moves"
    assert run(keep_every=5).run_id == run().run_id, "what stays of a run is no part of what it is"


def test_general_reasoners_loss_runs_and_refuses_row_dropping(exam):
    recipe = {"verifier": "math", "kl": 1e-4, "entropy_bonus": 1e-3, "clip_dual": 10.0, "filter": "none"}
    with pytest.raises(ValueError, match="drop_rows: .*beta is 0.0001 and an entropy bonus is on"):
        train(exam(**recipe, name="refused"))
    folder = train(exam(**recipe, drop_rows=False, length_penalty=0.05, no_answer_reward=-0.5, steps=2))
    episodes = folder.episodes()
    assert folder.state() == "complete"
    assert set(episodes.loc[episodes["verdict"] == "no answer", "reward"]) <= {-0.5}
    assert (episodes.loc[episodes["verdict"] == "right", "reward"] >= 0.5).all()


@pytest.mark.parametrize("changes", [{}, {"filter": "none"}, {"objective": "random_span"}])
def test_with_and_without_row_dropping_the_trajectory_is_the_same(run, changes):
    with_, without = train(run(**changes)), train(run(drop_rows=False, **changes))
    a, b = compare(with_, without, exactly=False)
    assert a["rows_trained"].sum() < a["rows"].sum() and a["rows_trained"].sum() > 0
    for name in a.columns:
        if name not in ("loss", "grad_norm"):
            assert a[name].equals(b[name]) or a[name].tolist() == pytest.approx(
                b[name].tolist(), rel=1e-4, nan_ok=True
            ), name
    assert a["grad_norm"].tolist() == pytest.approx(b["grad_norm"].tolist(), rel=1e-3)
    # Adam divides by the root of the squared gradient, so rounding decides the step of weights whose gradient
    # is all but 0.
    start = load(run())[0].state_dict()
    distance, moved = (
        sum((x - y).norm() ** 2 for x, y in zip(weights(with_).values(), other.values(), strict=True)) ** 0.5
        for other in (weights(without), start)
    )
    assert distance < 1e-2 * moved


def test_the_gradient_of_a_whole_step_is_the_same_to_a_millionth(run):
    gradients = {}
    for drop in (True, False):
        settings = run(drop_rows=drop, filter="none", passages=4, group=8)
        model, tokenizer = load(settings)
        trainer = make_trainer(settings, model, tokenizer, passages(20), RunFolder(settings.folder).open(settings))
        batch = next(iter(trainer.get_train_dataloader()))
        model.train()
        torch.manual_seed(0)  # TRL shuffles the rows of a generation batch
        trainer.current_gradient_accumulation_steps = 1
        trainer.training_step(model, batch, None)
        gradients[drop] = torch.cat([p.grad.flatten() for p in model.parameters()])
    assert gradients[False].norm() > 0
    assert (gradients[True] - gradients[False]).norm() < 1e-6 * gradients[False].norm()


@pytest.mark.parametrize(("loss", "given"), [("dapo", 0.28), ("grpo", 0.28), ("gspo", 0.28), ("cispo", 1.28)])
def test_whatever_the_loss_no_ratio_counts_for_more_than_1_and_clip_high(run, loss, given):
    """TRL adds 1 to `epsilon_high`, but for cispo, which cuts the ratio at it: 0.28 would cut every ratio."""
    settings = run(loss=loss, drop_rows=loss in ("dapo", "cispo"))
    assert module.trl_arguments(settings, RunFolder(settings.folder)).epsilon_high == pytest.approx(given)


@pytest.mark.parametrize("loss", ["dapo", "cispo"])
def test_against_trl_at_equal_positions_and_in_float64_the_gradients_agree(run, loss):
    settings = run(filter="none", passages=4, group=8, steps=2, loss=loss)
    trainer, batches = batches_of(settings)
    changes = gradient_changes(trainer, batches)
    assert 0 < changes["exact"] < 1e-6 and trainer.model.dtype == torch.float32 and trainer.drop_rows
    # A row left out that does count is seen.
    dropping = packing.keep_moving_rows
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            module, "keep_moving_rows", lambda x: dropping(x | {"advantages": x["advantages"].clamp_min(0)})
        )
        assert gradient_changes(trainer, batches)["exact"] > 1e-2


@pytest.mark.parametrize("loss", ["grpo", "dr_grpo", "gspo"])
def test_a_loss_that_needs_every_row_refuses_row_dropping_and_is_trls(run, loss):
    with pytest.raises(ValueError, match="drop_rows: would change the gradient, since loss_type is .*to False"):
        train(run(loss=loss))
    settings = run(loss=loss, drop_rows=False, filter="none", passages=4, group=8, steps=2)
    args = module.trl_arguments(settings, RunFolder(settings.folder))
    assert (args.loss_type, args.importance_sampling_level) == {"gspo": ("grpo", "sequence")}.get(loss, (loss, "token"))
    trainer, batches = batches_of(settings)
    assert trainer.method.folder.metrics()["grad_norm"].gt(0).any()
    for inputs in batches:
        found = []
        for compute in (trainer.compute_loss, lambda *x: GRPOTrainer.compute_loss(trainer, *x)):
            trainer.model.zero_grad()
            compute(trainer.model, inputs).backward()
            found.append(torch.cat([p.grad.flatten() for p in trainer.model.parameters()]))
        assert torch.equal(*found)


def test_one_micro_batch_or_several_give_the_same_steps(run):
    whole, cut = (train(run(micro_batch_rows=rows, name=f"m{rows}")) for rows in (512, 8))
    a, b = compare(whole, cut, exactly=False)
    assert a["tokens_completion"].tolist() == b["tokens_completion"].tolist()
    assert a["grad_norm"].tolist() == pytest.approx(b["grad_norm"].tolist(), rel=1e-3)
    assert a["loss"].tolist() == pytest.approx(b["loss"].tolist(), abs=1e-5)


@pytest.mark.parametrize("settings", [{}, {"updates_per_batch": 2}], ids=str)
def test_micro_batches_meet_their_shared_prompts(run, settings):
    """Shuffled as TRL has them, micro-batches of 6 rows read more tokens for the same gradient."""
    lengths, sums = packing._length, {}
    for order, function in {"prompts": packing.in_prompt_order, "shuffled": lambda rows, _: rows}.items():
        read = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(packing, "in_prompt_order", function)
            patch.setattr(packing, "lay_out", _noting(packing.lay_out, read))
            folder = train(run(passages=4, steps=2, filter="none", micro_batch_rows=6, name=order, **settings))
        sums[order] = (sum(lengths(own) for call in read for own in call), folder.metrics()["grad_norm"].tolist())
    (ours, gradients), (theirs, same) = sums["prompts"], sums["shuffled"]
    assert 0 < ours < 0.95 * theirs and gradients[0] == pytest.approx(same[0], rel=1e-4) and gradients[0] > 0


def _noting(function, seen):
    def noted(first, *rest):
        seen.append(first)
        return function(first, *rest)

    return noted


def test_an_evaluation_and_a_view_in_between_change_nothing(run):
    def evaluate(model, tokenizer, step):
        torch.rand(7)
        return [
            {
                "task": "sum",
                "group": "math",
                "n": 4,
                "correct": step,
                "accuracy": step / 4,
                "length": 2.0,
                "reasoned": 0.5,
            }
        ]

    class View:
        seen = []

        def update(self, folder, step, steps):
            self.seen.append((step, steps))

    plain, looked_at = train(run(name="plain")), train(run(name="plain-too", eval_every=2), View(), evaluate)
    compare(plain, looked_at)
    assert looked_at.evals()["step"].tolist() == [0, 2, 3] and View.seen[0] == (0, 3) and View.seen[-1] == (3, 3)


@pytest.mark.parametrize(
    "changes",
    [
        {"objective": "random_span"},
        {"filter": "refill"},
        {"mask_rule": "one", "temperature": 0.7, "top_p": 0.9},
        {"mask_rule": "words", "dtype": "bfloat16", "schedule": "cosine", "warmup_steps": 1},
    ],
)
def test_every_variant_runs(run, changes):
    folder = train(run(steps=2, **changes))
    metrics = folder.metrics()
    assert len(metrics) == 2 and metrics["grad_norm"].notna().all()
    assert ("generator/reward" in metrics) == (changes.get("objective") != "random_span")
    if "schedule" in changes:
        assert metrics["learning_rate"].tolist() == [0.0, 1e-3]


def test_nothing_is_said_to_a_user_who_did_nothing_wrong(run, capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        train(run(steps=2, save_every=1))
    said = "".join(capfd.readouterr())
    assert "reward functions returned None" not in said and "mtime" not in said and "model shards" not in said


def test_an_error_marks_the_run_failed_and_the_same_command_goes_on(run):
    def evaluate(model, tokenizer, step):
        if step == 2 and not healed:
            raise RuntimeError("a worm in the apple")
        return []

    healed = []
    with pytest.raises(RuntimeError):
        train(run(eval_every=1, save_every=1), evaluate=evaluate)
    folder = RunFolder(run(eval_every=1, save_every=1).folder)
    assert folder.state() == "failed" and "worm" in folder.status()["error"]
    healed.append(True)
    folder = train(run(eval_every=1, save_every=1), evaluate=evaluate)
    assert folder.state() == "complete" and folder.metrics()["step"].tolist() == [1, 2, 3]


def test_bad_models_and_settings_are_refused_in_words(run, skilled, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="model: .* reads 256 tokens, but max_prompt_tokens"):
        train(run(max_prompt_tokens=300))
    with pytest.raises(FileNotFoundError, match="model: cannot load 'no/such'"):
        train(run(model="no/such"))
    with pytest.raises(ValueError, match="max_prompt_tokens: 5 is too few, the shortest prompt"):
        train(run(max_prompt_tokens=5))
    with pytest.raises(ValueError, match="use_vllm: vLLM is not installed"):
        train(run(use_vllm=True))
    tokenizer = AutoTokenizer.from_pretrained(skilled / "model")
    tokenizer.eos_token = None
    AutoModelForCausalLM.from_pretrained(skilled / "model").save_pretrained(tmp_path / "endless")
    tokenizer.save_pretrained(tmp_path / "endless")
    with pytest.raises(ValueError, match="model: the tokenizer of .* has no eos token; set tokenizer.eos_token"):
        train(run(model=str(tmp_path / "endless")))


def test_rows_that_a_process_boundary_would_cut_are_refused(run):
    settings = run(passages=3)
    with pytest.raises(ValueError, match="passages: 3 a step cannot be shared among 2 processes"):
        module.trl_arguments(settings, RunFolder(settings.folder), processes=2)
    args = module.trl_arguments(run(passages=2), RunFolder(settings.folder), processes=2)
    assert args.per_device_train_batch_size * args.gradient_accumulation_steps == run().rows_per_step // 2


@pytest.mark.parametrize("objective", ["pretrainzero", "sft"])
def test_the_optimizer_is_adam_with_its_usual_constants(run, objective):
    settings = run(objective=objective, weight_decay=0.1)
    args = module.trl_arguments(settings, RunFolder(settings.folder))
    assert (args.optim, args.adam_beta1, args.adam_beta2, args.adam_epsilon) == ("adamw_torch", 0.9, 0.999, 1e-8)
    assert args.weight_decay == 0.1


def test_cut_completions_count_and_a_dual_clip_is_trls_delta(run):
    for dual, delta in ((0.0, None), (10.0, 10.0)):
        settings = run(clip_dual=dual)
        args = module.trl_arguments(settings, RunFolder(settings.folder))
        assert args.delta == delta and not args.mask_truncated_completions


def test_passages_with_too_long_prompts_are_left_out_and_counted(run, skilled):
    tokenizer = AutoTokenizer.from_pretrained(skilled / "model")
    mixed = passages(3) + passages(2, seed=9, words=5)
    kept, left_out = fitting(run(max_prompt_tokens=10), mixed, tokenizer)
    assert (len(kept), left_out) == (2, 3)


def test_the_private_names_of_trl_that_the_seam_rests_on_are_there():
    source = inspect.getsource(GRPOTrainer)
    assert "self.rollout_func(prompts, self)" in source
    assert "model(**model_inputs, labels=labels, fused_lm_head=True)" in source, "PackedModel stands in here"
    assert "self.vllm_generation.generate(" in source and "self.eos_token_ids = " in source
    assert 'tool_mask = extra_fields.pop("env_mask", None)' in source
    taken = "inputs = self._buffered_inputs[self._step % self.args.steps_per_generation]"
    assert taken in inspect.getsource(GRPOTrainer._prepare_inputs), "prompts_together takes it again, in order"
    assert "return self._compute_loss(model, inputs)" in inspect.getsource(GRPOTrainer.compute_loss)
    overridden = [n for n in vars(module.PZTrainer) if not n.startswith("__") and hasattr(GRPOTrainer, n)]
    assert [n for n in overridden if n not in ("_tag_names", "_name", "_paper")] == ["compute_loss"]


ASKS = """
import json, sys, time
asked = []
sys.addaudithook(lambda event, args: event in ("socket.getaddrinfo", "socket.connect") and asked.append(args[:2]))
import transformers  # before pzlib, as a notebook may
from pzlib.run import Run
from pzlib.train import train
for settings in json.loads(sys.argv[1]):
    train(Run(**settings))
time.sleep(0.5)  # whoever asks may do it from a thread
sys.exit(f"asked the network: {asked}" if asked else 0)
"""


@pytest.mark.slow
def test_training_on_files_of_this_machine_asks_nothing_of_the_network(run):
    command = [sys.executable, "-c", ASKS]
    command.append(json.dumps([run(objective=objective, steps=1).to_dict() for objective in ("random_span", "sft")]))
    silent = ("CI", "HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "DISABLE_TELEMETRY", "DO_NOT_TRACK")
    allowed = {name: value for name, value in os.environ.items() if name not in silent}
    process = subprocess.run(command, env=allowed, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr


def test_a_tracker_gets_both_roles_metrics_and_changes_nothing(run, monkeypatch):
    seen = []

    class Tracker(TrainerCallback):
        def on_log(self, args, state, control, logs, **_):
            seen.append((state.global_step, args.run_name, dict(logs)))

    alone = train(run(name="alone"))
    monkeypatch.setitem(integration_utils.INTEGRATION_TO_CALLBACK, "trackio", Tracker)
    tracked = train(run(name="tracked", report_to="trackio"))
    compare(alone, tracked)
    steps = [(step, name) for step, name, logs in seen if "loss" in logs]
    assert steps == [(n, "tracked") for n in (1, 2, 3)]
    stored = tracked.metrics().iloc[0]
    for name in ("predictor/reward", "generator/reward", "loss", "seconds"):
        assert seen[0][2][name] == stored[name]
    assert "reward" not in seen[0][2]  # TRL's mean over both roles


def test_a_tracker_that_is_not_installed_is_named_with_the_remedy(run, monkeypatch):
    def missing():
        raise RuntimeError("requires wandb to be installed. Run `pip install wandb`.")

    monkeypatch.setitem(integration_utils.INTEGRATION_TO_CALLBACK, "wandb", missing)
    with pytest.raises(ValueError, match="report_to: wandb is not installed here; install it with pip"):
        train(run(report_to="wandb"))
    with pytest.raises(ValueError, match="report_to: 'wand' is not one of none, tensorboard"):
        run(report_to="wand")
