"""The model under evaluation: found by name, told apart by its weights, checked and loaded as the harness wants it.
Leaves out adapters, quantised weights and models that bring code of their own."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import logging
import math
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pzlib.run import Run


@dataclass(frozen=True)
class Subject:
    """The model under evaluation: what it is called, where it lies, and which weights those are."""

    label: str
    source: str  # a folder or a hub name
    revision: str

    @property
    def place(self) -> dict:
        """What `from_pretrained` needs beside `source`: on the hub, the very commit."""
        return {} if Path(self.source).is_dir() else {"revision": self.revision}


def find(name: str) -> Subject:
    """The model that `name` stands for: a run's id (`id@step` for one it kept on the way), a folder or a hub name.

    revision: the hub's commit; of a folder a hash of its config and of size, first and last MiB of its weights.
    Errors: FileNotFoundError where there is no such model.

    >>> find("data/tinybase").label
    'tinybase'
    """
    source = Run(model=name).model_source
    if not Path(source).is_dir() and not Path(source).is_absolute():
        return Subject(name.replace("/", "--"), name, _commit(name))
    weights = sorted(Path(source).glob("*.safetensors"))
    if not weights:
        raise FileNotFoundError(f"model: cannot load {name!r}: {source} holds no safetensors file")
    return Subject(_label(name, Path(source)), source, _fingerprint([Path(source) / "config.json", *weights]))


def _label(name: str, source: Path) -> str:
    """What a folder's model is called: by its run, by its own name, or where that says nothing by its parent's too.

    >>> _label("run7@100", Path("/runs/run7/model-100")), _label("data/tinybase", Path("/repo/data/tinybase"))
    ('run7@100', 'tinybase')
    >>> _label("/runs/run7/model", Path("/runs/run7/model"))
    'run7-model'
    """
    if Path(name).name != source.name:
        label = name
    elif source.name.startswith(("model", "checkpoint")):
        label = f"{source.parent.name}-{source.name}"
    else:
        label = source.name
    return re.sub(r"[^\w.@-]", "_", label)


def _commit(name: str) -> str:
    """The commit of the hub's model `name`: its small config is fetched, or found where it was fetched before."""
    from transformers.utils import cached_file

    try:
        return Path(cached_file(name, "config.json")).parent.name
    except (OSError, ValueError) as error:
        said = f"model: cannot load {name!r}: no folder and no run here, and the hub does not give it"
        raise FileNotFoundError(f"{said}; is it written rightly, is the network up?\n{error}") from error


def _fingerprint(files: Sequence[Path], part: int = 1 << 20) -> str:
    digest = hashlib.sha256()
    for path in files:
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            digest.update(f"{path.name} {size} ".encode())
            for start in {0, max(0, size - part)}:
                file.seek(start)
                digest.update(file.read(part))
    return digest.hexdigest()[:16]


def load(model: Subject, protocol):
    """The model as the harness's `LM`: weights from safetensors in their own dtype, no code from the hub.

    protocol: a `pzlib.harness.Protocol`, of which backend, max_tokens, chat, batch and seed count here.
    Errors: ValueError or FileNotFoundError in words: no room for a prompt, a tokenizer that is missing or of another
    model, a chat template that is asked for and not there, vLLM not installed.
    """
    from transformers import AutoConfig, AutoTokenizer

    if protocol.backend == "vllm" and importlib.util.find_spec("vllm") is None:
        raise ValueError(
            "backend: vLLM is not installed; pip install 'pzlib[eval,vllm]' on a GPU box, or take the backend hf"
        )
    # transformers makes up an empty tokenizer of the model's type where there are no files of one.
    kinds = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "tekken.json")
    if Path(model.source).is_dir() and not any((Path(model.source) / kind).exists() for kind in kinds):
        raise ValueError(f"model: no {' or '.join(kinds[:3])} lies beside the weights of {model.label!r}; add it")
    try:
        config = AutoConfig.from_pretrained(model.source, **model.place).get_text_config()
        tokenizer = AutoTokenizer.from_pretrained(model.source, padding_side="left", **model.place)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"model: cannot read config and tokenizer of {model.label!r}; are its files whole?\n{error}"
        ) from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    room = getattr(config, "max_position_embeddings", None) or math.inf
    if protocol.max_tokens >= room:
        raise ValueError(
            f"max_tokens: {protocol.max_tokens} leave no room for a prompt in the {room} tokens that {model.label!r} "
            f"reads; give at most {room // 2}"
        )
    if protocol.chat and not tokenizer.chat_template:
        raise ValueError(f"chat: the tokenizer of {model.label!r} has no chat template; ask without")
    if len(tokenizer) > config.vocab_size:
        raise ValueError(
            f"model: the tokenizer of {model.label!r} has {len(tokenizer)} tokens, its weights {config.vocab_size}; it "
            "is another model's: put the right one beside the weights"
        )
    from pzlib.models import check_end  # which loads torch

    check_end(model.label, [config], tokenizer)
    with quietly():
        return _vllm(model, protocol, config) if protocol.backend == "vllm" else _hf(model, protocol, tokenizer, config)


def _hf(model, protocol, tokenizer, config):
    import torch
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoModelForCausalLM, GenerationConfig

    from pzlib.models import check

    try:
        kept = {"dtype": "auto", "use_safetensors": True, **model.place}
        loaded = AutoModelForCausalLM.from_pretrained(model.source, **kept)
    except OSError as error:
        raise ValueError(f"model: cannot load the weights of {model.label!r}: {error}") from error
    check(Run(model=model.source, max_prompt_tokens=1, max_completion_tokens=protocol.max_tokens), loaded, tokenizer)
    own = loaded.generation_config
    # A model's own generation_config may hold top-k, top-p or penalties: the temperature alone must decide.
    ends = own.eos_token_id if own.eos_token_id is not None else tokenizer.eos_token_id
    loaded.generation_config = GenerationConfig(eos_token_id=ends, pad_token_id=tokenizer.pad_token_id)
    loaded.to("cuda" if torch.cuda.is_available() else "cpu")
    room = getattr(config, "max_position_embeddings", None)
    return HFLM(pretrained=loaded, tokenizer=tokenizer, batch_size=protocol.batch, max_length=room)


def _vllm(model, protocol, config):
    from lm_eval.models.vllm_causallms import VLLM

    # Told its dtype, because vLLM reads float32 weights as bfloat16 by itself.
    dtype = str(config.dtype or "auto").removeprefix("torch.")
    return VLLM(pretrained=model.source, dtype=dtype, seed=protocol.seed, batch_size="auto", **model.place)


@contextlib.contextmanager
def quietly():
    """The harness's advice to its own users is dropped, and its progress bars where nobody sits at a terminal."""
    logger = logging.getLogger("lm_eval")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.nullcontext() if sys.stderr.isatty() else contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(before)
