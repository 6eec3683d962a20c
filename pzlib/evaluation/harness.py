"""Asks a model a benchmark's questions through lm-evaluation-harness, and hands back every completion with its prompt.
Leaves out the harness's own scores: it compares strings, one by one, under an alarm that a thread never hears. What is
logged is graded afterwards, all samples at once, in processes that a time limit does stop (`pzlib.evaluation.scores`)."""

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

from pzlib.evaluation.benchmarks import BENCHMARKS, Item
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

    protocol: a `pzlib.evaluation.harness.Protocol`, of which backend, max_tokens, chat, batch and seed count here.
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
    from pzlib.engine.models import check_end  # which loads torch

    check_end(model.label, [config], tokenizer)
    with quietly():
        return _vllm(model, protocol, config) if protocol.backend == "vllm" else _hf(model, protocol, tokenizer, config)



def _hf(model, protocol, tokenizer, config):
    import torch
    from lm_eval.models.huggingface import HFLM
    from transformers import GenerationConfig

    from pzlib.engine.models import from_source

    loaded, tokenizer = from_source(model.source, model.label, dtype="auto", **model.place)
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


TASKS = Path(__file__).parent / "tasks"

STYLES = ("boxed", "stock", "tiny")

BACKENDS = ("hf", "vllm")

# The harness's own tasks, whose few-shot prompts are the usual ones; it has none for the other sets.
STOCK = {"gsm8k": ("gsm8k", "gsm8k_cot"), "math500": ("minerva_math", "minerva_math500"), "mmlu_pro": ("mmlu_pro", "")}

_UNSCORED = {
    "metric_list": [{"metric": "bypass", "aggregation": "bypass", "higher_is_better": True}],
    "process_results": None,
    "filter_list": None,
}

# What a tier asks where nothing is said: the small models answer within a line and read no more than 256 tokens.
_MINI = {"max_tokens": 32, "batch": 256}

AT_TIER = {"smoke": _MINI | {"limit": 40}, "mini": _MINI, "gpu": {"max_tokens": 4096}, "paper": {}}



@dataclass(frozen=True)
class Protocol:
    """How questions are put, the same for every task; what is None follows the benchmark's own habit.

    prompts: boxed (General-Reasoner's zero-shot request), stock (the harness's few-shot prompt where there is one) or
    tiny (the small world's cue); chat: wrap the prompt in the tokenizer's chat template, as General-Reasoner's scripts
    do (papers.md 1.11) and this workbench's training does not; samples: answers a question, by default 32 for AIME and
    AMC, else 1; temperature: by default 1 where there are several, else 0; max_tokens: General-Reasoner's 8192; limit:
    the first so many questions; batch: answers generated at once, which matters to a seeded draw.
    Errors: ValueError naming the setting.
    """

    prompts: str = "boxed"
    chat: bool = False
    samples: int | None = None
    temperature: float | None = None
    max_tokens: int = 8192
    limit: int | None = None
    seed: int = 0
    batch: int = 16
    backend: str = "hf"

    def __post_init__(self):
        for name, known in (("prompts", STYLES), ("backend", BACKENDS)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name}: {getattr(self, name)!r} is not one of {', '.join(known)}")
        for name in ("samples", "max_tokens", "limit", "batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}: must be at least 1, got {value}")
        if self.temperature is not None and not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise ValueError(f"temperature: must be 0 or more, got {self.temperature}")
        if self.temperature == 0 and (self.samples or 1) > 1:
            raise ValueError(f"temperature: at 0 all {self.samples} samples of a question are one; raise it")

    @classmethod
    def at(cls, tier: str, **given) -> Protocol:
        """The protocol of a tier; a setting that is given and not None goes before.

        >>> Protocol.at("smoke", limit=None, seed=3).limit, Protocol.at("mini", max_tokens=16).max_tokens
        (40, 16)
        """
        return cls(**AT_TIER[tier] | {name: value for name, value in given.items() if value is not None})

    def of(self, task: str) -> dict:
        """The settings of one task, nothing left open: prompts, samples, temperature, and the rest as given.

        >>> told = Protocol(prompts="stock").of("amc23")
        >>> told["prompts"], told["samples"], told["temperature"]
        ('boxed', 32, 1.0)
        """
        style = self.prompts
        if task == "tinybench":
            style = "tiny"
        elif style == "stock" and task not in STOCK:
            style = "boxed"
        samples = self.samples or (1 if self.temperature == 0 else BENCHMARKS[task].samples)
        temperature = (1.0 if samples > 1 else 0.0) if self.temperature is None else float(self.temperature)
        return {**vars(self), "prompts": style, "samples": samples, "temperature": temperature}



def ask(
    lm,
    task: str,
    items: Sequence[Item],
    protocol: Protocol,
    path: Path | None = None,
    rows: Sequence[dict] = (),
    examples: Sequence[dict] = (),
) -> list[dict]:
    """What the model said: for each item {"prompt", "completions": [text] * samples, "cut": bool}, in order.

    lm: as `pzlib.evaluation.harness.load` gives it; path: the file of the items, None for the hub's; rows, examples: the
    published rows of the items and of the worked examples, of which stock prompts are made. cut: the prompt is longer
    than the model reads beside `max_tokens`, so its beginning was dropped. With the backend hf equal arguments give
    equal completions on one machine, whatever was asked before.
    """
    import torch
    from lm_eval.evaluator import evaluate

    told = protocol.of(task)
    with quietly(), torch.random.fork_rng():
        torch.manual_seed(protocol.seed)
        stock = told["prompts"] == "stock"
        loaded, order = _stock(task, rows, examples) if stock else _ours(task, path, len(items), told)
        for made in loaded["tasks"].values():
            made.set_config("repeats", told["samples"])
            made.set_config("generation_kwargs", _generation(told), update=True)
            made.set_fewshot_seed(protocol.seed)
        said = evaluate(lm, loaded, bootstrap_iters=0, apply_chat_template=protocol.chat)["samples"]
    answers = [None] * len(items)
    for name, samples in said.items():
        for sample in samples:
            (prompt, _), (completions,) = sample["arguments"][0], sample["resps"]
            answers[order[name][sample["doc_id"]]] = {"prompt": prompt, "completions": list(completions)}
    lengths = [len(ids) for ids in lm.tokenizer([answer["prompt"] for answer in answers])["input_ids"]]
    return [a | {"cut": n > lm.max_length - protocol.max_tokens} for a, n in zip(answers, lengths, strict=True)]



def _generation(told: dict) -> dict:
    drawn = told["temperature"] > 0
    named = {"do_sample": drawn, "temperature": told["temperature"], "max_gen_toks": told["max_tokens"]}
    # transformers cuts to the 50 likeliest tokens unless told otherwise.
    return named | ({"top_p": 1.0, "top_k": 0} if drawn else {})



def _ours(task, path, items, told):
    """Our YAML task loaded, and {its name: the item of each document}."""
    from lm_eval.tasks import TaskManager

    meta = {"source": str(path) if path else None, "style": told["prompts"], "limit": told["limit"]}
    manager = TaskManager(include_path=str(TASKS), include_defaults=False, metadata=meta)
    return manager.load([f"pz_{task}"]), {f"pz_{task}": range(items)}



def _stock(task, rows, examples):
    """The harness's own task over `rows`; MMLU-Pro is a task a subject, with five examples of that subject."""
    import datasets
    import lm_eval.tasks

    folder, name = STOCK[task]
    splits = {"test": datasets.Dataset.from_list(list(rows))}
    order = {name: range(len(rows))}
    if task == "mmlu_pro":
        splits["validation"] = datasets.Dataset.from_list(list(examples))
        order = {}
        for n, row in enumerate(rows):
            order.setdefault(f"mmlu_pro_{row['category'].replace(' ', '_')}", []).append(n)
    own = Path(lm_eval.tasks.__file__).parent / folder
    manager = lm_eval.tasks.TaskManager(include_path=str(own), include_defaults=False)
    asked = [{"task": name, "custom_dataset": lambda **_: splits, **_UNSCORED} for name in order]
    return manager.load([{"group": "pz_stock", "task": asked}]), order
