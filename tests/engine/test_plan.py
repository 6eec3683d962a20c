"""What a plan says before a run is paid for, against transformers' models, TRL's settings and measured peaks."""

import json
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
from peft import get_peft_model
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from pzlib.__main__ import main
from pzlib.commands import run_of
from pzlib.engine import memory, models
from pzlib.engine.memory import (
    DEVICES,
    KINDS,
    SHIPPED,
    TOKENS_AT_ONCE,
    Architecture,
    device,
    kept,
    reading,
    shares,
)  # fmt: skip
from pzlib.engine.packing import PackedModel, batches
from pzlib.engine.plan import changes, forward, misfits, plan
from pzlib.paths import REPO
from pzlib.run import Run
from pzlib.runs.folder import RunFolder
from pzlib.train import trl_arguments
from tests.bench.peak import measure, planned

PAPERS = json.loads(SHIPPED.read_text())
SMALL = {
    "vocab_size": 96, "hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 2, "num_attention_heads": 8,
    "num_key_value_heads": 2, "max_position_embeddings": 512, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1,
}  # fmt: skip
OWN = {
    "qwen3": {"head_dim": 16},
    "qwen3_moe": {"head_dim": 16, "num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 48},
    "llama": {"attention_bias": True, "mlp_bias": True},
}


def small(kind, attention="sdpa", **other):
    """(transformers' model of a kind at small width, its Architecture)."""
    config = AutoConfig.for_model(kind, **SMALL | OWN.get(kind, {}) | other)
    with torch.random.fork_rng():
        model = AutoModelForCausalLM.from_config(config, attn_implementation=attention)
    return model, Architecture.from_config(config.to_dict())


def meta(config):
    config = AutoConfig.for_model(**config, bos_token_id=None, eos_token_id=None, pad_token_id=None)
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


@pytest.mark.parametrize("name", PAPERS)
def test_the_papers_models_have_as_many_parameters_as_transformers_gives_them(name):
    arch = Architecture.of(name)
    assert arch.parameters == pytest.approx(meta(PAPERS[name]["config"]).num_parameters(), rel=1e-3)


def test_the_counts_are_those_that_the_models_cards_print():
    billions = {name.split("/")[1]: round(Architecture.of(name).parameters / 1e9, 1) for name in PAPERS}
    assert billions == {
        "Qwen3-0.6B-Base": 0.6, "Qwen3-1.7B-Base": 1.7, "Qwen3-4B-Base": 4.0, "Qwen3-8B-Base": 8.2,
        "Qwen3-30B-A3B-Base": 30.5, "SmolLM3-3B-Base": 3.1,
        "DeepSeek-R1-Distill-Qwen-14B": 14.8, "DeepSeek-R1-Distill-Qwen-1.5B": 1.8,
    }  # fmt: skip
    assert round(Architecture.of("Qwen/Qwen3-30B-A3B-Base").active / 1e9, 1) == 3.4  # the card says 3.3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tied", [True, False])
def test_any_shape_of_a_known_kind_is_counted_right(kind, tied):
    model, arch = small(kind, tie_word_embeddings=tied)
    vectors = sum(weight.numel() for weight in model.parameters() if weight.ndim == 1)  # norms and biases
    assert arch.parameters == model.num_parameters() - vectors
    if kind == "qwen3_moe":
        with pytest.raises(ValueError, match="with dense layers among sparse ones"):
            small(kind, num_hidden_layers=4, mlp_only_layers=[3])


def test_a_small_architecture_counted_by_hand():
    arch = Architecture.from_config({
        "model_type": "qwen3", "num_hidden_layers": 1, "hidden_size": 4, "head_dim": 3, "num_attention_heads": 2,
        "num_key_value_heads": 1, "intermediate_size": 5, "vocab_size": 7, "max_position_embeddings": 9,
    })  # fmt: skip
    # queries 4 x 6, keys and values 4 x 3 each, output 6 x 4; MLP 3 x 4 x 5
    assert (arch.layer, arch.body, arch.head) == (72 + 60, 72 + 60, 28)
    assert arch.parameters == arch.active == 132 + 2 * 28
    assert arch.adapter == (4 + 6) + 2 * (4 + 3) + (6 + 4) + 3 * (4 + 5)


@pytest.mark.filterwarnings("ignore:The following .*_pattern keys:RuntimeWarning")  # peft's, of fused experts
@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_is_counted_as_peft_makes_it(kind):
    model, arch = small(kind)
    wrapped = get_peft_model(model, models.config(Run(lora_rank=4)))
    assert 4 * arch.adapter == sum(weight.numel() for weight in wrapped.parameters() if weight.requires_grad)


def held(model, autocast, tokens=80):
    """Bytes a token that autograd keeps of a model's body, weights and their casts and masks apart."""
    apart = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    shapes = {weight.shape for weight in model.parameters()} | {
        weight.T.shape for weight in model.parameters() if weight.ndim == 2
    }
    seen = {}

    def pack(tensor):
        where = tensor.untyped_storage()
        if where.data_ptr() not in apart and tensor.shape not in shapes and tensor.shape[-1] != tokens:
            seen[where.data_ptr()] = (where.nbytes(), tensor)
        return tensor

    later = torch.full((tokens, tokens), torch.finfo(torch.float32).min).triu(1)[None, None]
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            body = model.base_model(
                input_ids=torch.arange(tokens)[None] % 96, attention_mask=later,
                position_ids=torch.arange(tokens)[None], use_cache=False,
            )  # fmt: skip
    assert body.last_hidden_state.requires_grad
    return sum(nbytes for nbytes, _ in seen.values()) / tokens


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [4, 2])
def test_what_a_layer_keeps_for_the_backward_pass_is_counted_to_five_percent(kind, size):
    more, arch = small(kind, num_hidden_layers=3)
    fewer, _ = small(kind, num_hidden_layers=2)
    found = held(more, size == 2) - held(fewer, size == 2)
    assert found == pytest.approx(kept(arch, size), rel=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_a_forward_pass_takes_the_operations_that_torch_counts(kind):
    model, arch = small(kind, "eager")  # torch's counter does not know a CPU's SDPA
    ids = torch.arange(64).reshape(2, 32)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(input_ids=ids, use_cache=False)
    counted = forward(arch, 64, 2 * 32**2, 64)
    if arch.experts:  # torch's counter knows no grouped products
        counted -= 2 * 64 * arch.layers * 3 * arch.hidden * arch.width
    assert counter.get_total_flops() == pytest.approx(counted, rel=1e-3)  # the rotation's frequencies


def test_a_process_and_a_micro_batch_have_the_rows_that_trl_is_told(tmp_path):
    run = Run(tier="paper", steps=4)
    args = trl_arguments(run, RunFolder(tmp_path), processes=4)
    local, micro = shares(run, 4)
    assert (args.per_device_train_batch_size, args.gradient_accumulation_steps) == (micro, local // micro)
    with pytest.raises(ValueError, match="passages: 32 a step cannot be shared among 5 processes"):
        shares(run, 5)


@pytest.mark.parametrize(("group", "prompt", "completion"), [(8, 30, 12), (4, 100, 40), (3, 20, 200)])
def test_a_micro_batch_is_read_in_the_sequences_that_packing_makes(tiny_model, group, prompt, completion):
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    run = Run(tier="smoke", objective="random_span", group=group, passages=2, micro_batch_rows=512)
    rows = run.rows_per_step
    packed = PackedModel(model, model, completion)
    prompts = [[1 + row // group] * prompt for row in range(rows)]
    made = packed._sequences([own + [2] * completion for own in prompts], [[1] * (prompt + completion)] * rows)
    calls = [
        (len(call), max(len(own) - 1 + sum(len(done) for _, done in branches) for own, branches in call))
        for call in batches(made, TOKENS_AT_ONCE)
    ]
    assert reading(run, model.config.hidden_size, prompt, completion, on_cpu=True) == calls


def test_the_parts_of_a_plain_run_worked_by_hand():
    run, arch = Run(tier="paper"), Architecture.of("Qwen/Qwen3-4B-Base")
    n = arch.parameters
    alone = memory.memory(run, arch, device("h100"))
    assert (alone["loss"]["weights"], alone["loss"]["optimizer"]) == (4 * n, 8 * n)
    assert alone["update"]["gradients"] == alone["update"]["update in passing"] == 4 * n
    # 36 layers' inputs, 4 rows of 1535 + 4096 tokens, 2560 floats: what checkpointing keeps at least
    assert alone["loss"]["activations"] > 4 * 5631 * 36 * 2560 * 4
    # 5 groups of 1536 + 8 x 4096 tokens grow at once: keys in float32, values in bfloat16, 36 layers of 1024 floats
    assert alone["generation"]["KV cache"] == 5 * (1536 + 8 * 4096) * 36 * 1024 * (2 + 2)
    eight = memory.memory(replace(run, processes=8, sharding="fsdp"), arch, device("h100"))
    assert (eight["update"]["weights"], eight["update"]["optimizer"]) == (4 * n / 8, 8 * n / 8)
    assert "DDP's buckets" in memory.memory(replace(run, processes=8), arch, device("h100"))["update"]


@pytest.mark.parametrize(
    ("settings", "part", "models"),
    [
        ({"objective": "rlp", "model": "Qwen/Qwen3-4B-Base"}, "moving average", 1),
        ({"kl": 1e-3, "drop_rows": False}, "reference model", 1),
        ({"objective": "entropy_next_token", "entropy_model": "base"}, "entropy model", 1),
        (
            {"objective": "rpt", "entropy_model": "Qwen/Qwen3-0.6B-Base", "model": "Qwen/Qwen3-4B-Base"},
            "entropy model",
            0.148,
        ),
        ({"use_vllm": True, "vllm_memory": 0.5}, "vLLM: weights and KV cache", 40 * 2**30 / 4 / 4.0225e9),
    ],
)
def test_whole_models_beside_the_trained_one_are_counted_in_every_phase(settings, part, models):
    run = Run(tier="paper", **settings)
    phases = memory.memory(run, Architecture.of(run.model_source), device("h100"))
    n = Architecture.of("Qwen/Qwen3-4B-Base").parameters
    for parts in phases.values():
        assert parts[part] == pytest.approx(models * 4 * n, rel=0.01)
    plain = memory.memory(Run(tier="paper"), Architecture.of("Qwen/Qwen3-4B-Base"), device("h100"))
    assert not any(part in parts for parts in plain.values())


@pytest.mark.parametrize("dtype, size", [("bfloat16", 2), ("float32", 4)])
def test_zero2_holds_weights_whole_in_the_arithmetics_type_and_shares_the_rest(dtype, size):
    arch = Architecture.of("Qwen/Qwen3-4B-Base")
    run = Run(tier="paper", processes=8, sharding="zero2", dtype=dtype)
    parts = memory.memory(run, arch, device("h100"))["update"]
    assert parts["weights"] == size * arch.parameters and parts["optimizer"] == 12 * arch.parameters / 8


def test_adapters_leave_gradients_and_moments_to_themselves():
    run, arch = Run(tier="paper", lora_rank=32), Architecture.of("Qwen/Qwen3-4B-Base")
    parts = memory.memory(run, arch, device("h100"))["update"]
    assert parts["gradients"] == 4 * 32 * arch.adapter and parts["optimizer"] == 8 * 32 * arch.adapter
    assert parts["weights"] == 4 * (arch.parameters + 32 * arch.adapter)


@pytest.mark.parametrize("model", ["Qwen/Qwen3-4B-Base", "Qwen/Qwen3-30B-A3B-Base", "HuggingFaceTB/SmolLM3-3B-Base"])
@pytest.mark.parametrize("name", ["h100", "rtx4090", "h200"])
def test_what_is_said_to_fit_does_and_every_change_that_is_named_is_needed(model, name):
    made = plan(Run(tier="paper", model=model), name)
    run, arch, where = made.run, made.arch, made.device
    proposed, said = proposals(run, arch, where), str(made)
    assert ("\nfits: " in said) == (misfits(run, arch, where) == [])
    assert ("would fit" in said) == bool(proposed)
    for change in proposed:
        together = {setting: value for own in change for setting, value in own.items()}
        assert misfits(replace(run, **together), arch, where) == []
        for left_out in change:
            less = {setting: value for own in change if own != left_out for setting, value in own.items()}
            assert misfits(replace(run, **less), arch, where), f"{change} without {left_out}"


def proposals(run, arch, where):
    """What `changes` proposes, from its words: a list of dicts of settings for each proposal."""
    if not misfits(run, arch, where):
        return []
    found = [words.split(", ") for kind in changes(run, arch, where) for words in kind]
    return [[_settings(words) for words in each] for each in found]


def _settings(words):
    """'sharding fsdp with processes 16' as settings."""
    pairs = [part.split() for part in words.split(" with ")]
    return {name: getattr(run_of([(name, value)], tier="paper"), name) for name, value in pairs}


def test_a_longer_completion_more_rows_and_a_larger_model_cost_more():
    base = plan(Run(tier="paper"))
    for other in (Run(tier="paper", max_completion_tokens=8192), Run(tier="paper", passages=64)):
        more = plan(other)
        assert more.work().training_flops > base.work().training_flops
        assert more.work().generation_seconds > base.work().generation_seconds
    assert plan(Run(tier="paper", model="Qwen/Qwen3-8B-Base")).work().seconds > base.work().seconds
    assert base.work(100, 100).seconds < base.work().seconds


def test_the_papers_step_is_in_the_plan(capsys):
    assert main(["plan"]) == 0
    said = capsys.readouterr().out
    assert "Qwen/Qwen3-4B-Base (qwen3): 4.02 B parameters" in said
    assert "a step: 288 prompts, 2,304 rows" in said and "9,437,184" in said and "2,000 steps, hours" in said
    assert "does not fit: " in said and "would fit with: " in said and "would fit, but trains otherwise: " in said
    assert said.index("does not fit: ") < said.index("a step: ")  # the verdict comes before its numbers


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--hardware", "h1000"], "hardware: no 'h1000'; did you mean"),
        (["--gpus", "5"], "passages: 32 a step cannot be shared among 5 processes"),
        (["--gpus", "0"], "processes: must be at least 1, got 0"),
        (["--model", "none/such"], "cannot load 'none/such': not a folder or run here"),
        (["--model", "tests"], "tests holds no config.json"),
        (["-p", "step", "3"], "step: no such setting of a run; did you mean steps?"),
        (["-p", "steps", "many"], "steps: wants an int such as 2000, got 'many'"),
        (["-p", "model", "x"], "model: give it as --model"),
        (["-p", "steps", "1", "-p", "steps", "2"], "steps: given twice"),
        (["--completion-tokens", "5000"], "completion-tokens: 5000 is not between 1 and the run's most, 4096"),
        (["--mfu", "40"], "mfu: a share of the peak, above 0 and at most 1, got 40.0"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(capsys, arguments, said):
    assert main(["plan", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_other_kinds_of_model_are_refused_in_words():
    with pytest.raises(ValueError, match="type 'mamba'; memory is counted for llama, qwen2"):
        Architecture.from_config({"model_type": "mamba"})
    with pytest.raises(ValueError, match="with attention windows"):
        Architecture.from_config({"model_type": "qwen2", "layer_types": ["sliding_attention"]})


def test_a_plan_needs_neither_torch_nor_tables_and_is_there_at_once():
    heavy = "{'torch', 'transformers', 'pandas'} & {*sys.modules}"
    code = f"import sys; from pzlib.__main__ import main; main(['plan']); print({heavy})"
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "set()"
    assert time.monotonic() - begun < 5  # below a second on cores that nobody else uses


def test_the_processes_that_are_asked_for_are_planned(capsys):
    assert main(["plan", "--tier", "paper", "-p", "processes", "1"]) == 0
    assert "on 1 x h100-80gb" in capsys.readouterr().out
    assert main(["plan", "--tier", "paper", "-p", "processes", "1", "--gpus", "4"]) == 0
    assert "on 4 x h100-80gb" in capsys.readouterr().out


def test_settings_of_a_command_line_have_the_settings_types():
    run = run_of([("use_vllm", "true"), ("learning_rate", "1e-6"), ("steps", "7"), ("name", "7")], tier="paper")
    assert (run.use_vllm, run.learning_rate, run.steps, run.name) == (True, 1e-6, 7, "7")


def test_every_device_has_plausible_numbers():
    for name, made in DEVICES.items():
        assert device(name) == made and made.usable < made.memory < 200 * 2**30
        assert made.fp32 < made.bf16 and 1e11 < made.bandwidth < 1e13


WIDE = {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 6, "head_dim": 64}  # 24 million weights
NARROW = {"hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 6, "head_dim": 32}  # 5 million
SHAPES = {
    "mostly weights": (WIDE, {"micro_batch_rows": 2, "passages": 1, "max_completion_tokens": 8}),
    "mostly activations": (NARROW, {"micro_batch_rows": 64, "passages": 4}),
    "packed": (NARROW, {"objective": "rlp", "passages": 16, "micro_batch_rows": 512}),
}


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_the_planned_peak_is_within_15_percent_of_the_measured_one(shape, tmp_path):
    sizes, own = SHAPES[shape]
    tokenizer = AutoTokenizer.from_pretrained(REPO / "data/tinybase_a")
    tokenizer.save_pretrained(tmp_path / "model")
    ends = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None}
    config = (
        SMALL | {"vocab_size": len(tokenizer), "num_key_value_heads": 4, "tie_word_embeddings": True} | ends | sizes
    )
    AutoModelForCausalLM.from_config(AutoConfig.for_model("qwen3", **config)).save_pretrained(tmp_path / "model")
    run = Run(tier="smoke", model=str(tmp_path / "model"), **{"objective": "random_span", "drop_rows": False} | own)
    found = measure(run)
    phase, most = planned(run, found)
    print(f"{shape}: planned {most / 2**20:.0f} MiB ({phase}), measured {found['bytes'] / 2**20:.0f} MiB")
    assert most == pytest.approx(found["bytes"], rel=0.15)
