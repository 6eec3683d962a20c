"""Asks a model a benchmark's questions through lm-evaluation-harness, and returns every completion with its prompt.
Leaves out the harness's own scores: it compares strings, under an alarm that a thread never hears; see
`pzlib.evaluation.scores`."""

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

from pzlib.evaluation.benchmarks import BENCHMARKS, Item, prompt
from pzlib.hub import of_hub
from pzlib.paths import sha256
from pzlib.run import Run

STYLES, BACKENDS = ("boxed", "stock", "tiny"), ("hf", "own", "vllm")

# The harness's own tasks, whose few-shot prompts are the usual ones; it has none for the other sets.
STOCK = {"gsm8k": ("gsm8k", "gsm8k_cot"), "math500": ("minerva_math", "minerva_math500"), "mmlu_pro": ("mmlu_pro", "")}

# Of a task of the harness: nothing is scored; ours have a ready prompt, and nothing stops an answer but its end.
_BYPASS = {"metric": "bypass", "aggregation": "bypass", "higher_is_better": True}
_UNSCORED = {"metric_list": [_BYPASS], "process_results": None, "filter_list": None}
_READY = _UNSCORED | {
    "test_split": "test", "output_type": "generate_until", "doc_to_text": "prompt", "doc_to_target": "gold",
    "num_fewshot": 0, "generation_kwargs": {"until": [], "do_sample": False},
}  # fmt: skip

# What a tier asks where nothing is given: the small models answer within a line and read no more than 256 tokens.
_MINI = {"max_tokens": 32, "batch": 256}
AT_TIER = {"smoke": _MINI | {"limit": 40}, "mini": _MINI, "gpu": {"max_tokens": 4096}, "paper": {}}


@dataclass(frozen=True)
class Protocol:
    """How questions are put, the same for every task; what is None follows the benchmark's own habit.

    prompts: boxed (General-Reasoner's zero-shot request), stock (the harness's few-shot prompt where there is one) or
    tiny (the small world's cue); chat: wrap the prompt in the tokenizer's chat template, as General-Reasoner's scripts
    do (papers.md 1.11) and training here does not; samples: answers per question, by default 32 for AIME and AMC, else
    1; temperature: by default 1 where there are several, else 0; max_tokens: General-Reasoner's 8192; limit: the first
    so many questions; batch: answers generated at once, which matters to a seeded draw.
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
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name}: must be at least 1, got {getattr(self, name)}")
        if self.temperature is not None and not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise ValueError(f"temperature: must be 0 or more, got {self.temperature}")
        if self.temperature == 0 and (self.samples or 1) > 1:
            raise ValueError(f"temperature: at 0 all {self.samples} samples of a question are one; raise it")

    @classmethod
    def at(cls, tier: str, **given):
        """The protocol of a tier; a setting that is given and not None goes before.

        >>> Protocol.at("smoke", limit=None, seed=3).limit, Protocol.at("mini", max_tokens=16).max_tokens
        (40, 16)
        """
        return cls(**AT_TIER[tier] | {name: value for name, value in given.items() if value is not None})

    def of(self, task: str) -> dict:
        """The settings of one task, nothing left open: prompts, samples, temperature, and the rest as given.

        >>> settings = Protocol(prompts="stock").of("amc23")
        >>> settings["prompts"], settings["samples"], settings["temperature"]
        ('boxed', 32, 1.0)
        """
        lacking = self.prompts == "stock" and (BENCHMARKS[task].part_of or task) not in STOCK
        style = "tiny" if BENCHMARKS[task].kind == "exact" else "boxed" if lacking else self.prompts
        samples = self.samples or (1 if self.temperature == 0 else BENCHMARKS[task].samples)
        temperature = (1.0 if samples > 1 else 0.0) if self.temperature is None else float(self.temperature)
        return {**vars(self), "prompts": style, "samples": samples, "temperature": temperature}


@dataclass(frozen=True)
class Model:
    """The model under evaluation: what it is called, where it is, and which weights those are."""

    label: str
    source: str  # a folder or a hub name
    revision: str

    @property
    def place(self) -> dict:
        """What `from_pretrained` needs beside `source`: on the hub, the very commit."""
        return {} if Path(self.source).is_dir() else {"revision": self.revision}


def find(name: str) -> Model:
    """The model that `name` stands for: a run's id (`id@step` for one it kept on the way), a folder or a hub name.

    revision: the hub's commit; of a folder a hash of its config and weights.
    Errors: FileNotFoundError where there is no such model.

    >>> find("data/tinybase_a").label
    'tinybase_a'
    """
    source = Run(model=name).model_source
    if not Path(source).is_dir() and not Path(source).is_absolute():
        return Model(name.replace("/", "--"), name, of_hub(name).parent.name)  # a folder named by the commit
    weights = sorted(Path(source).glob("*.safetensors"))
    if not weights:
        raise FileNotFoundError(f"model: cannot load {name!r}: {source} holds no safetensors file")
    label = Path(name).name
    if label == Path(source).name and label.startswith(("model", "checkpoint")):  # of a run's folder, not by its id
        label = f"{Path(source).parent.name}-{label}"
    digests = [sha256(path) for path in (Path(source) / "config.json", *weights)]
    return Model(re.sub(r"[^\w.@-]", "_", label), source, hashlib.sha256(repr(digests).encode()).hexdigest()[:16])


def load(model: Model, protocol: Protocol):
    """The model as the harness's `LM`: weights from safetensors in their own dtype, no code from the hub.

    Errors: those of `pzlib.engine.models.from_source`; ValueError for no room for a prompt, a chat template that is
    asked for and not there, vLLM not installed.
    """
    if protocol.backend == "vllm" and importlib.util.find_spec("vllm") is None:
        raise ValueError("backend: vLLM is not installed; pip install 'pzlib[eval,vllm]' on a GPU box, or take hf")
    with quietly():
        if protocol.backend == "vllm":
            lm = _vllm(model, protocol.seed)
        else:
            lm = _hf(model, protocol.batch, own=protocol.backend == "own")
    if protocol.max_tokens >= lm.max_length:
        room = f"no room for a prompt in the {lm.max_length} tokens that {model.label!r} reads"
        raise ValueError(f"max_tokens: {protocol.max_tokens} leave {room}; give at most {lm.max_length // 2}")
    if protocol.chat and not lm.tokenizer.chat_template:
        raise ValueError(f"chat: the tokenizer of {model.label!r} has no chat template; ask without")
    return lm


def _hf(model, batch, own=False):
    """own: with this library's sampler instead of transformers' `generate`."""
    import torch
    from lm_eval.models.huggingface import HFLM
    from transformers import GenerationConfig

    from pzlib.engine.models import from_source

    loaded, tokenizer = from_source(model.source, model.label, dtype="auto", **model.place)
    ends = loaded.generation_config.eos_token_id
    # A model's own generation_config may hold top-k, top-p or penalties: the temperature alone must decide.
    ends = ends if ends is not None else tokenizer.eos_token_id
    loaded.generation_config = GenerationConfig(eos_token_id=ends, pad_token_id=tokenizer.pad_token_id)
    loaded.to("cuda" if torch.cuda.is_available() else "cpu")
    room = getattr(loaded.config.get_text_config(), "max_position_embeddings", None)
    kind = _sampled(HFLM) if own else HFLM
    return kind(pretrained=loaded, tokenizer=tokenizer, batch_size=batch, max_length=room)


def _sampled(base):
    """The harness's model with `pzlib.engine.sampling.sample`, which reads a prompt once for all of its answers."""
    import torch

    from pzlib.engine.sampling import sample

    class Sampled(base):
        def _model_generate(self, context, max_length, stop, attention_mask, temperature=0.0, **_):
            prompts = [ids[mask.bool()].tolist() for ids, mask in zip(context, attention_mask, strict=True)]
            kinds = list(dict.fromkeys(map(tuple, prompts)))
            counts = [prompts.count(list(one)) for one in kinds]
            repeats = counts[0] if len(set(counts)) == 1 else 1
            asked = [list(one) for one in kinds] if repeats > 1 else prompts
            ends, pad = self.model.generation_config.eos_token_id, self.tokenizer.pad_token_id
            generator = torch.Generator(device=context.device).manual_seed(int(torch.randint(2**62, ())))
            drawn = sample(
                self.model, asked, repeats, max_new_tokens=max_length - context.shape[1], temperature=temperature,
                eos_ids=ends if isinstance(ends, list) else [ends], pad_id=pad, generator=generator,
            ).completion_ids  # fmt: skip
            if repeats > 1:  # back into the order in which they were asked
                own = {one: iter(drawn[i * repeats : (i + 1) * repeats]) for i, one in enumerate(kinds)}
                drawn = [next(own[tuple(prompt)]) for prompt in prompts]
            longest = max(map(len, drawn))
            rows = torch.tensor([ids + [pad] * (longest - len(ids)) for ids in drawn], device=context.device)
            return torch.cat([context, rows], dim=1)

    return Sampled


def _vllm(model, seed):
    from lm_eval.models.vllm_causallms import VLLM
    from transformers import AutoConfig

    # Given its dtype, because vLLM reads float32 weights as bfloat16 by itself.
    dtype = str(AutoConfig.from_pretrained(model.source, **model.place).dtype or "auto").removeprefix("torch.")
    return VLLM(pretrained=model.source, dtype=dtype, seed=seed, batch_size="auto", **model.place)


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


def ask(lm, task: str, items: Sequence[Item], protocol: Protocol, rows=(), examples=()) -> list[dict]:
    """What the model answers, in order: for each item {"prompt", "completions": [text] * samples, "tokens": [number] *
    samples, "cut": bool}.

    lm: as `load` returns it; rows, examples: the published rows of the items and of the worked examples, of which stock
    prompts are made. cut: the prompt is longer than the model reads beside `max_tokens`, and lost its beginning.
    With the backend hf equal arguments give equal completions on one machine, whatever was asked before.
    """
    import torch
    from lm_eval.evaluator import evaluate

    settings = protocol.of(task)
    style, heat = settings["prompts"], settings["temperature"]
    generation = {"do_sample": heat > 0, "temperature": heat, "max_gen_toks": protocol.max_tokens}
    if heat:  # transformers cuts to the 50 likeliest tokens where nothing is given
        generation |= {"top_p": 1.0, "top_k": 0}
    with quietly(), torch.random.fork_rng():
        torch.manual_seed(protocol.seed)
        loaded, order = _stock(task, rows, examples) if style == "stock" else _ours(task, items, style)
        for made in loaded["tasks"].values():
            made.set_config("repeats", settings["samples"])
            made.set_config("generation_kwargs", generation, update=True)
            made.set_fewshot_seed(protocol.seed)
        logged = evaluate(lm, loaded, bootstrap_iters=0, apply_chat_template=protocol.chat)["samples"]
    answers = [None] * len(items)
    for name, samples in logged.items():
        for sample in samples:
            (prompt, _), (completions,) = sample["arguments"][0], sample["resps"]
            answers[order[name][sample["doc_id"]]] = {"prompt": prompt, "completions": list(completions)}
    lengths = [len(ids) for ids in lm.tokenizer([answer["prompt"] for answer in answers])["input_ids"]]
    said = [text for answer in answers for text in answer["completions"]]
    tokens = iter(lm.tokenizer(said, add_special_tokens=False)["input_ids"])
    return [
        a | {"tokens": [len(next(tokens)) for _ in a["completions"]], "cut": n > lm.max_length - protocol.max_tokens}
        for a, n in zip(answers, lengths, strict=True)
    ]


def _ours(task, items, style):
    """A task over the items under our prompts, and {its name: the item of each document}."""
    import datasets
    from lm_eval.tasks import TaskManager

    documents = [{"prompt": prompt(task, item, style), "gold": item.gold or ""} for item in items]
    splits = {"test": datasets.Dataset.from_list(documents)}
    made = {"task": f"pz_{task}", "custom_dataset": lambda **_: splits, **_READY}
    return TaskManager(include_defaults=False).load([made]), {made["task"]: range(len(items))}


def _stock(task, rows, examples):
    """The harness's own task over `rows`; MMLU-Pro is a task a subject, with five examples of that subject."""
    import datasets
    import lm_eval.tasks

    task = BENCHMARKS[task].part_of or task
    folder, name = STOCK[task]
    splits, order = {"test": datasets.Dataset.from_list(list(rows))}, {name: range(len(rows))}
    if task == "mmlu_pro":
        splits["validation"], order = datasets.Dataset.from_list(list(examples)), {}
        for n, row in enumerate(rows):
            order.setdefault(f"mmlu_pro_{row['category'].replace(' ', '_')}", []).append(n)
    own = Path(lm_eval.tasks.__file__).parent / folder
    manager = lm_eval.tasks.TaskManager(include_path=str(own), include_defaults=False)
    asked = [{"task": name, "custom_dataset": lambda **_: splits, **_UNSCORED} for name in order]
    return manager.load([{"group": "pz_stock", "task": asked}]), order
