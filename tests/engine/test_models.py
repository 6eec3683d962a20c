"""Models: what is done to one while it is only asked; tokenizers without padding; LoRA of every objective, of which the
adapter alone is trained, kept and reloaded, while what comes out merged is a plain model."""

from dataclasses import replace

import pytest
import torch
from peft import PeftModel, get_peft_model
from safetensors.torch import load_file
from skilled import batches_of
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen3MoeConfig, Qwen3MoeForCausalLM

from pzlib.engine import models, packing
from pzlib.engine.models import AVERAGE, Average, evaluating, load
from pzlib.engine.sampling import can_branch
from pzlib.run import Run
from pzlib.tiers import SMALL_WORLD
from pzlib.train import train

TIMES = ["seconds", "seconds_generation", "seconds_training", "seconds_evaluation"]
SLOW = ("random_span", "random_next_token", "entropy_next_token", "rlvr", "rpt", "continued_pretraining")
OBJECTIVES = ["pretrainzero", "rlp", "sft", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]


@pytest.fixture
def run(skilled, tiny_model):
    def make(**changes):
        if changes.get("objective") == "rpt":  # which the tiny model was not taught
            return Run(tier="smoke", steps=2, lora_rank=2, save_every=1, learning_rate=1e-3, **changes)
        taught = changes.get("objective") != "rlp"  # whose thoughts are all alike
        sizes = {
            "tier": "smoke",
            "model": str(skilled / "model" if taught else tiny_model),
            "corpus": str(skilled / ("problems.jsonl" if changes.get("objective") == "rlvr" else "corpus.jsonl")),
            "steps": 2,
            "passages": 4,
            "min_tokens": 4,
            "max_prompt_tokens": 32,
            "max_completion_tokens": 8,
            "learning_rate": 1e-2,
            "lora_rank": 2,
            "save_every": 1,
        }
        return Run(**sizes | changes)

    return make


@pytest.fixture
def adapted(run):
    """A model with an adapter that does something, and the Run it is of."""

    def make(**changes):
        settings = run(**changes)
        torch.manual_seed(1)
        model = get_peft_model(load(settings)[0], models.config(settings))
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.1)
        return model

    return make


@pytest.mark.parametrize("training", [True, False])
def test_a_model_that_is_asked_goes_back_to_its_mode(training):
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout(0.5)).train(training)
    with evaluating(model) as asked:
        assert asked is model and not any(part.training for part in model.modules())
        assert torch.equal(model(torch.ones(2)), model(torch.ones(2))) and not torch.is_grad_enabled()
    assert torch.is_grad_enabled() and all(part.training is training for part in model.modules())
    with pytest.raises(KeyError), evaluating(model):
        raise KeyError
    assert torch.is_grad_enabled() and all(part.training is training for part in model.modules())


@pytest.mark.parametrize("objective", ["pretrainzero", "sft", "rlp"])
def test_without_a_pad_token_the_end_token_pads_and_nothing_else_changes(run, tmp_path, objective):
    settings, folders = run(objective=objective, lora_rank=0, learning_rate=1e-3, drop_rows=False), []
    model = AutoModelForCausalLM.from_pretrained(settings.model_source)
    model.config.pad_token_id = model.generation_config.pad_token_id = None
    for name, pad in (("padless", None), ("padded", "<pad>")):
        tokenizer = AutoTokenizer.from_pretrained(settings.model_source)
        tokenizer.pad_token = pad
        model.save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
        folders.append(train(replace(settings, model=str(tmp_path / name), name=name)))
    ours, theirs = folders
    assert ours.episodes().equals(theirs.episodes()) and len(ours.metrics()) == 2
    assert ours.metrics().drop(columns=TIMES).equals(theirs.metrics().drop(columns=TIMES))
    ends = [load_file(folder.path / "model/model.safetensors") for folder in (ours, theirs)]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[1])
    kept = load(replace(settings, model=str(ours.path / "model")))[1]
    assert kept.pad_token == kept.eos_token == "<eos>"


def logits(model):
    with torch.no_grad():
        return model(input_ids=torch.arange(3, 23)[None]).logits


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_adapter_alone_is_trained_and_comes_out_merged(run, objective):
    settings = run(objective=objective)
    folder = train(settings)
    base = load_file(f"{settings.model_source}/model.safetensors")
    factors = load_file(folder.path / "adapter/adapter_model.safetensors")
    assert factors and all("lora_A" in name or "lora_B" in name for name in factors)
    assert any(weight.any() for name, weight in factors.items() if "lora_B" in name), "nothing was learned"
    out = load_file(folder.path / "model/model.safetensors")
    moved = {name for name in out if not torch.equal(base[name], out[name])}
    head = base.pop("lm_head.weight", None)  # tied to the embedding, which a shipped base has twice in its file
    assert head is None or torch.equal(head, base["model.embed_tokens.weight"])
    assert out.keys() == base.keys() and moved and all("_proj" in name for name in moved)

    plain = AutoModelForCausalLM.from_pretrained(folder.path / "model").eval()
    model = AutoModelForCausalLM.from_pretrained(settings.model_source)
    before = logits(model.eval())
    with_adapter = PeftModel.from_pretrained(model, folder.path / "adapter").eval()
    alike, changed = ((logits(plain) - other).abs().max() for other in (logits(with_adapter), before))
    assert alike < 1e-5 * before.abs().max() and changed > 10 * alike

    for number in (1, 2):
        held = {path.name for path in (folder.path / f"checkpoints/checkpoint-{number}").iterdir()}
        assert "adapter_model.safetensors" in held and "model.safetensors" not in held
        assert (AVERAGE in held) == (objective == "rlp")
    half, _ = load(run(model=str(folder.path / "checkpoints/checkpoint-1"), lora_rank=0))  # an adapter
    assert run(model=f"{folder.path.name}@1").model_source == str(folder.path / "model-1"), "merged, and kept for good"
    kept = load_file(folder.path / "model-1/model.safetensors")
    assert max((half.state_dict()[name] - kept[name]).abs().max() for name in kept) < 1e-6


def test_an_adapters_folder_and_the_merged_model_are_the_same_start(run):
    folder = train(run())
    ends = [load(run(model=str(folder.path / name), lora_rank=0))[0] for name in ("model", "adapter")]
    assert not any(isinstance(model, PeftModel) for model in ends)
    assert (logits(ends[0]) - logits(ends[1])).abs().max() < 1e-5


def test_merged_is_what_peft_makes_of_it_and_the_base_stays_as_it_is(adapted, skilled):
    model = adapted()
    ours = {name: weight.clone() for name, weight in models.merged(model)}
    base = load_file(skilled / "model/model.safetensors")
    frozen = {name.replace(".base_layer.", "."): w for name, w in models.bare(model).state_dict().items()}
    assert all(torch.equal(frozen[name], weight) for name, weight in base.items())
    theirs = model.merge_and_unload().state_dict()
    assert ours.keys() == theirs.keys()
    assert max((ours[name] - theirs[name]).abs().max() for name in ours) < 1e-6
    assert any((ours[name] - base[name]).abs().max() > 1e-3 for name in base)


@pytest.mark.filterwarnings("ignore:The following .* keys did not match")  # peft's own pattern for such experts
def test_fused_experts_are_merged_too():
    """Of a mixture of experts, whose weights are one tensor each: what peft makes of it, and nothing is left out."""
    config = Qwen3MoeConfig(
        vocab_size=64, hidden_size=32, intermediate_size=64, moe_intermediate_size=16, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, head_dim=16, num_experts=4, num_experts_per_tok=2,
    )  # fmt: skip
    plain = Qwen3MoeForCausalLM(config)
    names = plain.state_dict().keys()
    base = {name: weight.clone() for name, weight in plain.state_dict().items()}
    model = get_peft_model(plain, models.config(Run(lora_rank=2)))
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    ours = {name: weight.clone() for name, weight in models.merged(model)}
    theirs = model.merge_and_unload().state_dict()
    assert ours.keys() == names == theirs.keys()
    assert max((ours[name] - theirs[name]).abs().max() for name in ours) < 1e-6
    for part in ("gate_up_proj", "down_proj"):
        name = f"model.layers.1.mlp.experts.{part}"
        assert (ours[name] - base[name]).abs().max() > 1e-3


def test_an_adapter_on_an_adapter_is_refused(run):
    folder = train(run())
    with pytest.raises(ValueError, match="adapter' is an adapter, and lora_rank would train another on top"):
        load(run(model=str(folder.path / "adapter")))
    assert load(run(model=str(folder.path / "adapter"), lora_rank=0))


def test_the_moving_average_is_of_the_merged_weights_however_the_factors_share_them(adapted, skilled):
    base, found = load_file(skilled / "model/model.safetensors"), []
    for scale in (1.0, 4.0):
        model = adapted()
        for name, weight in model.named_parameters():
            weight.data *= scale if "lora_A" in name else 1 / scale if "lora_B" in name else 1.0
        average = Average(AutoModelForCausalLM.from_pretrained(skilled / "model"), keep=0.75)
        average.on_optimizer_step(None, None, None, model)
        found.append(dict(average.model.named_parameters()))
    theta = adapted().merge_and_unload().state_dict()
    for name, mean in found[0].items():
        torch.testing.assert_close(mean, 0.75 * base[name] + 0.25 * theta[name], rtol=0, atol=1e-6)
        torch.testing.assert_close(mean, found[1][name], rtol=0, atol=1e-6)


@pytest.mark.parametrize("objective", ["pretrainzero", pytest.param("rlp", marks=pytest.mark.slow)])
def test_stopped_and_started_again_it_ends_bit_for_bit_as_if_never_stopped(run, objective):
    def evaluate(model, tokenizer, step):
        assert not isinstance(model, PeftModel) and can_branch(model), "evaluations branch too"
        if step == 3 and stopping:
            raise RuntimeError("stop")
        return []

    settings = {"objective": objective, "steps": 4, "save_every": 2, "eval_every": 1, "ema": 0.5}
    stopping = True
    with pytest.raises(RuntimeError, match="stop"):
        train(run(**settings, name="stopped"), evaluate=evaluate)
    stopping = False
    whole, resumed = (train(run(**settings, name=name), evaluate=evaluate) for name in ("whole", "stopped"))
    assert whole.metrics().drop(columns=TIMES).equals(resumed.metrics().drop(columns=TIMES))
    assert whole.episodes().equals(resumed.episodes())
    for name in ("model/model.safetensors", "adapter/adapter_model.safetensors", "model-2/model.safetensors"):
        assert (whole.path / name).read_bytes() == (resumed.path / name).read_bytes()


def test_equal_seeds_give_equal_adapters(run):
    a, b, other = (train(run(name=name, seed=seed)).path for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    file = "adapter/adapter_model.safetensors"
    assert (a / file).read_bytes() == (b / file).read_bytes() != (other / file).read_bytes()


def test_rows_are_dropped_and_prompts_shared_without_changing_the_adapters_gradient(run, monkeypatch):
    trainer, (_, batch) = batches_of(run(filter="none", group=8))
    packed, gradients = [], {}
    lay_out = packing.PackedModel._sequences
    monkeypatch.setattr(packing.PackedModel, "_sequences", lambda self, *a: packed.append(1) or lay_out(self, *a))
    for drop in (True, False):
        trainer.drop_rows = drop
        trainer.model.zero_grad()
        trainer.compute_loss(trainer.model, batch).backward()
        trained = [weight for weight in trainer.model.parameters() if weight.requires_grad]
        gradients[drop] = torch.cat([weight.grad.flatten() for weight in trained])
    assert packed == [1] and gradients[False].norm() > 0
    assert (gradients[True] - gradients[False]).norm() < 1e-5 * gradients[False].norm()


def test_the_kl_term_holds_against_the_base_without_the_adapter(run, skilled):
    trainer, (_, batch) = batches_of(run(filter="none", kl=0.1, drop_rows=False))
    assert trainer.ref_model is None
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
    width = batch["completion_ids"].shape[1]

    def scored(model):
        with torch.no_grad():
            out = model.eval()(input_ids=ids, attention_mask=mask).logits[:, -width - 1 : -1].log_softmax(-1)
        return out.gather(-1, batch["completion_ids"][..., None])[..., 0] * batch["completion_mask"]

    base, policy = scored(AutoModelForCausalLM.from_pretrained(skilled / "model")), scored(trainer.model)
    reference = batch["ref_per_token_logps"] * batch["completion_mask"]
    assert (reference - base).abs().max() < 1e-4 < (policy - base).abs().max()


def test_settings_of_adapters_are_checked_and_name_the_run(run):
    assert run().run_id != replace(run(), lora_rank=4).run_id != replace(run(), lora_rank=4, lora_alpha=4).run_id
    with pytest.raises(ValueError, match="lora_alpha: 8 without adapters"):
        Run(lora_alpha=8)
    with pytest.raises(ValueError, match="lora_rank: must be at least 0"):
        Run(lora_rank=-1)


def test_text_of_unknown_words_is_refused_with_the_remedy(home):
    """The shipped model knows its small world's words alone; it must not train on gaps."""
    (home / "mine.txt").write_text("The French Revolution began in 1789. Kings feared it everywhere. " * 9)
    with pytest.raises(ValueError, match=r"model: \d+% of the text's words are unknown to 'data/tinybase_a'; give"):
        train(Run(tier="smoke", corpus="mine.txt", min_tokens=5, name="mine"))
    assert not (home / "data/runs/mine/params.json").exists()


def test_a_model_that_is_only_asked_goes_to_the_gpu_where_there_is_one(monkeypatch):
    places, move = [], torch.nn.Module.to
    monkeypatch.setattr(torch.nn.Module, "to", lambda self, place: places.append(place) or move(self, "cpu"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    model, _ = models.to_ask(Run(tier="smoke"))
    assert places == ["cuda"] and model.device.type == "cpu"  # as far as a machine without a GPU can go


def test_a_base_of_the_small_world_that_is_not_pretrained_yet_names_its_command(tmp_path):
    with pytest.raises(FileNotFoundError, match="`python -m pzlib.world.tinybase tinybase_a_early` makes it"):
        models.from_source(tmp_path / "tinybase_a_early", SMALL_WORLD.early)
