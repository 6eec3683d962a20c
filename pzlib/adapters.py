"""LoRA through peft: what a run trains of a model, the weights with the adapter in them, an adapter's folder as model.
Leaves out quantised bases, and all but linear layers: embeddings and the head stay frozen."""

import json
from pathlib import Path

import torch
from accelerate.utils import is_peft_model
from peft import LoraConfig, PeftModel
from peft.tuners.lora import LoraLayer
from peft.utils import CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME


def config(run):
    """peft's LoraConfig of a run; None where all weights are trained.

    Without dropout: with it a row of zero advantage would no longer add exactly nothing, see `pzlib.packing`.

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
