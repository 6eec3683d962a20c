"""Loads a causal language model and its tokenizer for a run, and says in words what makes one unfit.
Leaves out quantised weights; an adapter's folder is loaded as the model that it makes of its base."""

import contextlib
import hashlib
import importlib.util
import json
import logging
from pathlib import Path

import torch
from accelerate.utils import is_peft_model
from peft import LoraConfig, PeftModel
from peft.tuners.lora import LoraLayer
from peft.utils import CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from pzlib.paths import misspelt, root


def tells_a_user_something(record):
    """False for three messages of the libraries: TRL's, at length, of rows without a reward, which here are
    fillers of illegal masks and dead groups; transformers' of file times, by which it would order checkpoints; and of
    a head that a checkpoint lacks because it is the embedding."""
    said = record.getMessage()
    nothing = ("All reward functions returned None", "mtime may not be reliable", "model loaded: ['lm_head.weight']")
    return not any(words in said for words in nothing)



@contextlib.contextmanager
def quiet():
    """No progress bar for every model read and checkpoint written; what is shown of progress is the
    run's."""
    for name in ("transformers.trainer_utils", "transformers.trainer"):
        logging.getLogger(name).addFilter(tells_a_user_something)
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def config(run):
    """peft's LoraConfig of a run; None where all weights are trained.

    Without dropout: with it a row of zero advantage would no longer add exactly nothing, see `pzlib.engine.packing`.

    >>> from pzlib.run import Run
    >>> lora = config(Run(lora_rank=4))
    >>> lora.r, lora.lora_alpha, config(Run())
    (4, 8, None)
    """
    if not run.lora_rank:
        return None
    alpha = run.lora_alpha or 2 * run.lora_rank
    return LoraConfig(
        task_type="CAUSAL_LM", r=run.lora_rank, lora_alpha=alpha, lora_dropout=0.0, bias="none",
        target_modules="all-linear",
    )  # fmt: skip



def bare(model):
    """The transformers model inside a PeftModel, whose layers hold the adapter and so use it; any other as it is."""
    return model.get_base_model() if is_peft_model(model) else model



@torch.no_grad()
def merged(model):
    """(name, weight) of a model as it would be with its adapter merged, one after the other; the model stays as it is.

    peft's own merging adds to the weights in place and takes off again, which rounds: a frozen base would drift.
    """
    layers = {name: layer for name, layer in bare(model).named_modules() if isinstance(layer, LoraLayer)}
    for name, weight in bare(model).state_dict().items():
        if ".lora_" in name:
            continue
        around = [layer for at, layer in layers.items() if name.startswith(f"{at}.base_layer.")]
        path = [part for part in name.split(".") if part != "base_layer"]
        for layer in around:  # of fused experts, which are one module of several weights, each has a layer of its own
            if getattr(layer, "parameter_name", "weight") == path[-1]:
                weight = weight + layer.get_delta_weight("default")
        yield ".".join(path), weight



def export(model, tokenizer, folder):
    """Save a model that has an adapter as one that has none, with its tokenizer: transformers and vLLM load it so."""
    weights = {name: weight.to("cpu") for name, weight in merged(model)}
    bare(model).save_pretrained(folder, state_dict=weights)
    tokenizer.save_pretrained(folder)



def base_of(source):
    """What an adapter's folder says it is an adapter of; None for any other model.

    Raises ValueError for an adapter that is not in safetensors.
    """
    described = Path(source) / CONFIG_NAME
    if not described.is_file():
        return None
    if not (Path(source) / SAFETENSORS_WEIGHTS_NAME).is_file():
        raise ValueError(f"model: the adapter {source} has no {SAFETENSORS_WEIGHTS_NAME}; other files are not read")
    return json.loads(described.read_text())["base_model_name_or_path"]



def with_adapter(model, folder):
    """The model with the adapter in `folder` merged into it."""
    return PeftModel.from_pretrained(model, folder).merge_and_unload()


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
    if not Path(run.model_source).exists() and misspelt(run.model):
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
    if here.parent.parent == root() / "data/runs":
        found = [*here.parent.glob("model*"), *here.parent.glob("checkpoints/checkpoint-*")]
        kept = sorted(path.name for path in found if path.suffix != ".part")
        return f"the run keeps {', '.join(kept) or 'no model yet; finish it first'}"
    hint = "; `make tinybase` remakes it" if run.model in ("data/tinybase", "data/tinybase_small") else ""
    return (misspelt(run.model) or "is it written rightly, and is the network up?") + hint



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



def fingerprint(model):
    """16 hex digits that tell two models apart: names, shapes and up to 4,096 values of every weight,
    hashed."""
    digest = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        flat = weight.detach().flatten()
        few = flat[:: max(1, len(flat) // 4096)].to("cpu", torch.float32)
        digest.update(f"{name}{tuple(weight.shape)}".encode() + few.numpy().tobytes())
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def evaluating(model):
    """The model in eval mode and without gradients for the block; afterwards in the mode it was in, errors or not.

    >>> layer = torch.nn.Linear(1, 1)
    >>> with evaluating(layer):
    ...     print(layer.training, layer(torch.ones(1)).requires_grad)
    False False
    >>> layer.training, layer(torch.ones(1)).requires_grad
    (True, True)
    """
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield model
    finally:
        model.train(training)
