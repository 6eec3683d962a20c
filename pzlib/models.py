"""Loads a causal language model and its tokenizer for a run, and says in words what makes one unfit.
Leaves out quantised weights; an adapter's folder is loaded as the model that it makes of its base."""

import hashlib
import importlib.util
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from pzlib import run as settings
from pzlib.adapters import base_of, with_adapter
from pzlib.problems import Problem
from pzlib.prompts import TEMPLATES, generator_prompt, predictor_prompt, question_prompt
from pzlib.quiet import quiet
from pzlib.rpttemplates import rpt_prompt
from pzlib.thoughts import FORMS


def load(run):
    """(model, tokenizer) of `run.model_source`: float32 weights from safetensors, no code from the hub.

    `dtype` is the arithmetic's: the weights stay float32, since an update at the paper's rate of 5e-7 is lost
    in bfloat16's 8 significant bits. A LoRA adapter is merged into its base. Raises ValueError or
    FileNotFoundError naming the setting and the remedy.
    """
    if run.use_vllm and importlib.util.find_spec("vllm") is None:
        raise ValueError(
            "use_vllm: vLLM is not installed; pip install 'pzlib[vllm]' on a GPU box, or set it to False"
        )
    if not Path(run.model_source).exists() and settings.misspelt(run.model):
        raise FileNotFoundError(f"model: cannot load {run.model!r}: {_remedy(run)}")
    base = base_of(run.model_source)
    if base and run.lora_rank:
        raise ValueError(
            f"model: {run.model!r} is an adapter, and lora_rank would train another on top, which could not be loaded "
            "without it; give the merged model that lies beside it, or set lora_rank to 0"
        )
    if run.use_vllm and run.vllm_mode == "server" and not torch.cuda.is_available():
        raise ValueError("vllm_mode: a server takes new weights from a GPU only, and here is none; take colocate")
    try:
        tokenizer = AutoTokenizer.from_pretrained(run.model_source, padding_side="left", trust_remote_code=False)
        with quiet():
            model = AutoModelForCausalLM.from_pretrained(
                base or run.model_source, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
            )
            model = with_adapter(model, run.model_source) if base else model
    except OSError as error:
        raise FileNotFoundError(f"model: cannot load {run.model!r}: {_remedy(run)}\n{error}") from error
    check(run, model, tokenizer)
    return model, tokenizer


def _remedy(run):
    here = Path(run.model_source)
    if here.exists():
        return "see below"
    if here.parent.parent == settings.ROOT / "data/runs":
        found = [*here.parent.glob("model*"), *here.parent.glob("checkpoints/checkpoint-*")]
        kept = sorted(path.name for path in found if path.suffix != ".part")
        return f"the run keeps {', '.join(kept) or 'no model yet; finish it first'}"
    hint = "; `make tinybase` remakes it" if run.model in ("data/tinybase", "data/tinybase_small") else ""
    return (settings.misspelt(run.model) or "is it written rightly, and is the network up?") + hint


def check(run, model, tokenizer):
    """ValueError, in words, for a model and tokenizer with which the run could not work."""
    for token in ("eos", "pad"):
        if getattr(tokenizer, f"{token}_token_id") is None:
            raise ValueError(
                f"model: the tokenizer of {run.model!r} has no {token} token; set tokenizer.{token}_token to "
                "one of its tokens (for pad, eos will do), save it beside the model, give that folder"
            )
    config = model.config.get_text_config()
    context = getattr(config, "max_position_embeddings", None)
    wanted = run.max_prompt_tokens + run.max_completion_tokens
    if context and context < wanted:
        raise ValueError(
            f"model: {run.model!r} reads {context} tokens, but max_prompt_tokens {run.max_prompt_tokens} + "
            f"max_completion_tokens {run.max_completion_tokens} = {wanted}; lower one of them"
        )
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise ValueError(
            f"model: {run.model!r} has {rows} embeddings for {len(tokenizer)} tokens; resize and save it"
        )
    check_end(run.model, [config, model.generation_config], tokenizer)


def check_end(name, configs, tokenizer):
    """ValueError where a model's configs know the tokenizer's end token by none of theirs: it is another model's."""
    known = [config.eos_token_id for config in configs if config is not None]
    known = {end for ends in known if ends is not None for end in (ends if isinstance(ends, list) else [ends])}
    if known and tokenizer.eos_token_id not in known:
        raise ValueError(
            f"model: {name!r} ends texts with token {' or '.join(map(str, sorted(known)))}, its tokenizer with "
            f"{tokenizer.eos_token_id}: the tokenizer is another model's; put the right one beside the weights"
        )


def fitting(run, items, tokenizer):
    """(passages or problems whose prompts are at most `max_prompt_tokens` long, how many were left out).

    Raises ValueError where none is left.
    """
    template = TEMPLATES[run.template]
    if run.objective in ("rlvr", "mixed_sft"):  # plain text is read without a prompt
        prompts = [[question_prompt(i.question, template)] if isinstance(i, Problem) else [i.text] for i in items]
    elif run.objective == "rpt":
        prompts = [[rpt_prompt(p.text, run.template, run.rpt_template)] for p in items]
    elif run.objective == "rlp":
        prompts = [[FORMS[run.template].prompt(p.text)] for p in items]
    else:
        prompts = [[make(p.text, template) for make in (generator_prompt, predictor_prompt)] for p in items]
    lengths = iter(tokenizer([text for own in prompts for text in own])["input_ids"] if prompts else [])
    longest = [max(len(next(lengths)) for _ in own) for own in prompts]
    kept = [item for item, n in zip(items, longest, strict=True) if n <= run.max_prompt_tokens]
    if not kept:
        found = (
            f"the shortest prompt of {len(longest)} has {min(longest)} tokens"
            if longest
            else "there is nothing to ask"
        )
        raise ValueError(
            f"max_prompt_tokens: {run.max_prompt_tokens} is too few, {found}; raise it, or lower max_tokens"
        )
    return kept, len(longest) - len(kept)


def fingerprint(model):
    """16 hex digits that tell two models apart: names, shapes and up to 4,096 values of every weight,
    hashed."""
    digest = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        flat = weight.detach().flatten()
        few = flat[:: max(1, len(flat) // 4096)].to("cpu", torch.float32)
        digest.update(f"{name}{tuple(weight.shape)}".encode() + few.numpy().tobytes())
    return digest.hexdigest()[:16]
