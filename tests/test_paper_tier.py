"""The paper tier of each of the papers' models: its settings from configuration alone, one real step at small width."""

import json
import random
from dataclasses import replace

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from pzlib.engine.memory import SHIPPED
from pzlib.paths import REPO
from pzlib.run import Run
from pzlib.runs.folder import RunFolder
from pzlib.train import train, trl_arguments

CONFIGS = {name: entry["config"] for name, entry in json.loads(SHIPPED.read_text()).items()}
# Of each paper: PretrainZero (arXiv:2512.03442, Table 1), RLP (2510.01265, section 3.2), RPT (2506.08007, section 3)
GAME = ("Qwen/Qwen3-4B-Base", "Qwen/Qwen3-8B-Base", "Qwen/Qwen3-30B-A3B-Base", "HuggingFaceTB/SmolLM3-3B-Base")
RUNS = [*(("pretrainzero", name) for name in GAME), ("rlp", "Qwen/Qwen3-1.7B-Base"),
        ("rpt", "deepseek-ai/DeepSeek-R1-Distill-Qwen-14B")]  # fmt: skip
CLASSES = {"qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM", "qwen3_moe": "Qwen3MoeForCausalLM",
           "smollm3": "SmolLM3ForCausalLM"}  # fmt: skip
# What a laptop cannot hold: lengths, passages, text, evaluation. All else stays the tier's. Arithmetic is float32, for
# bfloat16 is emulated on many CPUs.
SHRUNK = {
    "steps": 1, "passages": 1, "max_completion_tokens": 12, "max_prompt_tokens": 256, "min_context": 5,
    "corpus": "tinywiki", "corpus_config": "", "corpus_limit": 6, "min_tokens": 16, "max_tokens": 80,
    "eval_every": 0, "dtype": "float32",
}  # fmt: skip


def paper(objective, name):
    """The Run as the paper has it: SmolLM3 takes 100 of its 2,000 steps on random spans first (section 4.1)."""
    warm_up = {"random_span_steps": 100} if "SmolLM3" in name else {}
    return Run(tier="paper", objective=objective, model=name, **warm_up)


@pytest.fixture
def narrow(tmp_path):
    """Makes a folder with a shipped model at small width, its architecture as it is, and tinybase's tokenizer."""

    def make(name):
        tokenizer = AutoTokenizer.from_pretrained(REPO / "data/tinybase_a")
        own = CONFIGS[name]
        small = {
            "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4,
            "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512,
            "pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None,
        }  # fmt: skip
        if "head_dim" in own:
            small["head_dim"] = 16
        if "num_experts" in own:
            small |= {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**own | small))
        assert type(model).__name__ == CLASSES[own["model_type"]]
        folder = tmp_path / "narrow"
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return str(folder)

    return make


@pytest.mark.parametrize(("objective", "name"), RUNS)
def test_the_papers_settings_come_from_the_tier_alone(objective, name, tmp_path):
    run = paper(objective, name)
    processes = 32 if objective == "rlp" else 8
    args = trl_arguments(run, RunFolder(tmp_path), processes)
    prompts = run.rows_per_step // run.group
    stated = {
        # steps, rate, schedule, prompts, rollouts, prompt tokens, completion tokens, temperature
        "pretrainzero": (2000, 5e-7, "cosine", 288, 8, 1536, 4096, 1.0),
        "rpt": (1000, 1e-6, "constant_with_warmup", 256, 8, 4096, 8192, 0.8),
        "rlp": (200, 1e-6, "constant_with_warmup", 512, 16, 2048, 2048, 0.7),
    }[objective]
    assert (args.max_steps, args.learning_rate, args.lr_scheduler_type, prompts, args.num_generations,
            run.max_prompt_tokens, args.max_completion_length, args.temperature) == stated  # fmt: skip
    rows = args.per_device_train_batch_size * args.gradient_accumulation_steps
    assert rows * processes == run.rows_per_step == prompts * run.group
    assert (
        args.warmup_steps == 0
        and args.num_iterations == 1
        and args.steps_per_generation == args.gradient_accumulation_steps
    )
    assert (args.beta, args.entropy_coef, args.bf16, args.router_aux_loss_coef) == (0.0, 0.0, True, 0.0)
    assert (args.epsilon, args.epsilon_high, args.delta) == (0.2, 0.28, None)
    if objective == "pretrainzero":
        assert (run.passages, run.rows_per_step, run.filter, run.generator_reward) == (32, 2304, "drop", "zero_rule")
        assert run.random_span_steps == (100 if "SmolLM3" in name else 0)
        assert (args.loss_type, args.scale_rewards, args.max_grad_norm) == ("dapo", "group", 1.0)
    if objective == "rpt":
        assert (args.max_grad_norm, args.weight_decay, run.dynamic_from, run.filter) == (0.2, 0.01, 500, "none")
        assert run.entropy_model == "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B" and run.entropy_top == 16
    if objective == "rlp":
        assert (args.loss_type, args.scale_rewards, run.ema) == ("grpo", "none", 0.999)


@pytest.mark.slow
@pytest.mark.parametrize(("objective", "name"), RUNS)
def test_one_step_of_the_paper_tier_moves_a_narrow_model_of_the_same_architecture(objective, name, narrow, monkeypatch):
    full, source = paper(objective, name), narrow(name)
    shrunk = dict(SHRUNK)
    if objective == "rpt":
        shrunk |= {"entropy_model": "base", "entropy_threshold": 0.0}
    run = replace(full, model=source, random_span_steps=min(full.random_span_steps, 1), **shrunk)
    untouched = {n: v for n, v in full.to_dict().items() if n not in {*shrunk, "model", "random_span_steps"}}
    assert untouched.items() <= run.to_dict().items()
    # A random model names no word and is never right: its masks are read as full stops, and it is paid by lot.
    lot = random.Random(0)
    monkeypatch.setattr("pzlib.objectives.pretrainzero.parse_mask", lambda completion: ".")
    for place in ("pzlib.objectives.pretrainzero.predictor_reward", "pzlib.objectives.rpt.rpt_reward"):
        monkeypatch.setattr(place, lambda *_: float(lot.random() < 0.5))
    folder = train(run)
    assert folder.state() == "complete"
    rows = folder.metrics()
    assert rows["rows"].tolist() == [run.rows_per_step] and rows["rows_trained"].item() > 0
    assert rows["grad_norm"].item() > 0
    before = AutoModelForCausalLM.from_pretrained(source).state_dict()
    after = AutoModelForCausalLM.from_pretrained(folder.path / "model").state_dict()
    moved = {weight for weight in before if not torch.equal(before[weight], after[weight])}
    layers = {f"model.layers.{i}.self_attn.q_proj.weight" for i in range(4)}
    assert layers <= moved
    if "moe" in CONFIGS[name]["model_type"]:
        experts = [weight for weight in moved if "experts" in weight]
        assert len(experts) >= 4 and any("gate.weight" in weight for weight in moved)
