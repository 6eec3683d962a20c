"""Loads a causal language model and its tokenizer, or says what makes one unfit; LoRA adapters; averaged weights.
Leaves out quantised weights; an adapter's folder is loaded as the model that it makes of its base."""

import contextlib
import copy
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
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from transformers.utils import logging as transformers_logging

from pzlib.hub import misspelt, of_hub
from pzlib.paths import root
from pzlib.tiers import SMALL_WORLD

# No news here: TRL's warning of rows without a reward (fillers of illegal masks and dead groups), transformers' of file
# times, by which it would order checkpoints, and that of a head which a checkpoint lacks because it is the embedding.
NO_NEWS = ("All reward functions returned None", "mtime may not be reliable", "model loaded: ['lm_head.weight']")
TOKENIZER_FILES = ("tokenizer.json", "vocab.*", "*.model", "tekken.json")
AVERAGE = "average.safetensors"  # in a checkpoint


def _is_news(record):
    return not any(words in record.getMessage() for words in NO_NEWS)


@contextlib.contextmanager
def less_noise():
    """Within it the libraries show no progress bar for every model and checkpoint, and no message of `NO_NEWS`."""
    for name in ("transformers.trainer_utils", "transformers.trainer", "trl.trainer.grpo_trainer"):
        logging.getLogger(name).addFilter(_is_news)
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
    return LoraConfig(task_type="CAUSAL_LM", r=run.lora_rank, lora_alpha=alpha, target_modules="all-linear")


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
        path = [part for part in name.split(".") if part != "base_layer"]
        for at, layer in layers.items():  # fused experts are one module of several weights, with a layer for each
            if name.startswith(f"{at}.base_layer.") and getattr(layer, "parameter_name", "weight") == path[-1]:
                weight = weight + layer.get_delta_weight("default")
        yield ".".join(path), weight


def export(model, tokenizer, folder):
    """Save a model that has an adapter as one that has none, with its tokenizer: transformers and vLLM load it so."""
    weights = {name: weight.to("cpu") for name, weight in merged(model)}
    bare(model).save_pretrained(folder, state_dict=weights)
    tokenizer.save_pretrained(folder)


def base_of(source):
    """The model that an adapter's folder names as its base; None for another model, ValueError without safetensors."""
    described = Path(source) / CONFIG_NAME
    if not described.is_file():
        return None
    if not (Path(source) / SAFETENSORS_WEIGHTS_NAME).is_file():
        raise ValueError(f"model: the adapter {source} has no {SAFETENSORS_WEIGHTS_NAME}; other files are not read")
    return json.loads(described.read_text())["base_model_name_or_path"]


def load(run):
    """(model, tokenizer) of `run.model_source`, as `from_source` reads them, which suit the run.

    `dtype` is the arithmetic's: the weights stay float32, since an update at the paper's rate of 5e-7 is lost in
    bfloat16's 8 significant bits. Raises ValueError or FileNotFoundError naming the setting and the remedy.
    """
    if run.use_vllm and importlib.util.find_spec("vllm") is None:
        raise ValueError("use_vllm: vLLM is not installed; pip install 'pzlib[vllm]' on a GPU box, or set it to False")
    if run.lora_rank and base_of(run.model_source):
        remedy = "give the merged model beside it, or set lora_rank to 0"
        raise ValueError(f"model: {run.model!r} is an adapter, and lora_rank would train another on top; {remedy}")
    if run.use_vllm and run.vllm_mode == "server" and not torch.cuda.is_available():
        raise ValueError("vllm_mode: a server takes new weights from a GPU only, and here is none; take colocate")
    model, tokenizer = from_source(run.model_source, run.model)
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    wanted = run.max_prompt_tokens + run.max_completion_tokens
    if context and context < wanted:
        asked = f"max_prompt_tokens {run.max_prompt_tokens} + max_completion_tokens {run.max_completion_tokens}"
        raise ValueError(f"model: {run.model!r} reads {context} tokens, but {asked} = {wanted}; lower one of them")
    return model, tokenizer


def to_ask(run):
    """`load(run)` on the GPU where there is one, for whatever asks a model; a trainer places its own."""
    model, tokenizer = load(run)
    return model.to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer


def from_source(source, name=None, dtype=torch.float32, **place):
    """(model, tokenizer) of a folder or a hub name: weights from safetensors, no code from the hub, an adapter merged.

    name: what the user calls it; place: which revision. A tokenizer without a pad token takes its end token, as TRL
    does: masks tell padding from text, never the token. Raises FileNotFoundError and ValueError.
    """
    name, trusted = name or source, {"trust_remote_code": False, **place}
    if not Path(source).exists() and misspelt(name):
        raise FileNotFoundError(f"model: cannot load {name!r}: {_remedy(name, source)}")
    if not Path(source).exists() and not Path(source).is_absolute():
        of_hub(name)
    base = base_of(source)
    # transformers makes up an empty tokenizer of the model's type where there are no files of one
    if Path(source).is_dir() and not any(file for files in TOKENIZER_FILES for file in Path(source).glob(files)):
        raise ValueError(f"model: no tokenizer.json is beside the weights of {name!r}; add it")
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, padding_side="left", **trusted)
        with less_noise():
            model = AutoModelForCausalLM.from_pretrained(base or source, dtype=dtype, use_safetensors=True, **trusted)
            model = PeftModel.from_pretrained(model, source).merge_and_unload() if base else model
    except OSError as error:
        raise FileNotFoundError(f"model: cannot load {name!r}: {_remedy(name, source)}\n{error}") from error
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"model: cannot read {name!r}; are its files whole, and of one model?\n{error}") from error
    if tokenizer.eos_token_id is None:
        raise ValueError(f"model: the tokenizer of {name!r} has no eos token; set tokenizer.eos_token and save it")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise ValueError(f"model: {name!r} has {rows} embeddings for {len(tokenizer)} tokens; resize and save it")
    known = set()
    for settings in filter(None, (model.config.get_text_config(), model.generation_config)):
        ends = settings.eos_token_id
        known |= set(ends if isinstance(ends, list) else [ends]) - {None}
    if known and tokenizer.eos_token_id not in known:
        ends, own = " or ".join(map(str, sorted(known))), tokenizer.eos_token_id
        why = f"{name!r} ends texts with token {ends}, its tokenizer with {own}: the tokenizer is another model's"
        raise ValueError(f"model: {why}; put the right one beside the weights")
    return model, tokenizer


def _remedy(name, source):
    here = Path(source)
    if here.exists():
        return "see below"
    if name in (SMALL_WORLD.smaller, SMALL_WORLD.early):  # not pretrained yet
        return f"`python -m pzlib.world.tinybase {here.name}` makes it"
    if here.parent.parent == root() / "data/runs":
        found = [*here.parent.glob("model*"), *here.parent.glob("checkpoints/checkpoint-*")]
        kept = sorted(path.name for path in found if path.suffix != ".part")
        return f"the run keeps {', '.join(kept) or 'no model yet; finish it first'}"
    return misspelt(name) or "check the name and the network"


def fingerprint(model):
    """16 hex digits that tell two models apart: names, shapes and up to 4,096 values of every weight, hashed."""
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


class Average(TrainerCallback):
    """phi <- keep * phi + (1 - keep) * theta after each optimizer step (RLP section 3.1), phi = theta at the first.

    RLP's baseline. model: the policy as loaded, before a trainer changes its `forward`: the copy must not call what is
    trained. `self.model` is the copy, in eval mode, without gradients or optimizer state, one more file of every
    checkpoint. It is whole on every process, and so must the policy be. Of a policy with an adapter it follows the
    merged weights: an average of the adapter's two factors would change with how their product is split between them.
    Weights stay float32: in bfloat16 a step of 1 - keep = 0.001 would be lost to rounding.

    >>> theta = torch.nn.Linear(1, 1, bias=False)
    >>> average = Average(theta, keep=0.75)
    >>> with torch.no_grad():
    ...     _ = average.model.weight.fill_(1.0), theta.weight.fill_(5.0)
    >>> average.on_optimizer_step(None, None, None, theta)
    >>> average.model.weight.item()
    2.0
    """

    def __init__(self, model, keep):
        self.model, self.keep = copy.deepcopy(model).requires_grad_(False).eval(), keep

    def on_train_begin(self, args, state, control, model, **_):
        """Goes where the policy is; of a run that goes on, takes what its checkpoint holds."""
        self.model.to(model.device)
        if state.global_step:
            held = load_file(f"{args.output_dir}/checkpoint-{state.global_step}/{AVERAGE}")
            own = dict(self.model.named_parameters())
            if held.keys() != own.keys():
                raise ValueError(f"{AVERAGE}: holds other weights than the model; delete the checkpoint that holds it")
            for name, weight in own.items():
                weight.copy_(held[name])

    @torch.no_grad()
    def on_optimizer_step(self, args, state, control, model, **_):
        own = dict(self.model.named_parameters())  # a tied weight once, while `merged` gives it by both of its names
        for name, weight in merged(model):
            if name in own:
                own[name].lerp_(weight.to(own[name].dtype), 1 - self.keep)

    def on_save(self, args, state, control, **_):
        if state.is_world_process_zero:
            weights = {name: weight.contiguous() for name, weight in self.model.named_parameters()}
            save_file(weights, f"{args.output_dir}/checkpoint-{state.global_step}/{AVERAGE}")


def check_words(texts, tokenizer, run, most=0.05, few=200):
    """ValueError where more than `most` of the tokens of the first `few` texts are unknown to the model: it would train
    on gaps, and call the run complete."""
    unknown = tokenizer.unk_token_id
    ids = [i for own in tokenizer(texts[:few], add_special_tokens=False)["input_ids"] for i in own]
    share = ids.count(unknown) / max(1, len(ids))
    if unknown is not None and share > most:
        remedy = "give a model that knows them, such as Qwen/Qwen3-0.6B-Base with template paper"
        raise ValueError(f"model: {share:.0%} of the text's words are unknown to {run.model!r}; {remedy}")
