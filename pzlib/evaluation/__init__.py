"""Scores of a model: the small world, next tokens, benchmarks. What a run is asked along training goes by a name.
Light: the modules named here are read when one of them is asked for."""

import contextlib
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module, metadata
from pathlib import Path

from pzlib.errors import near_names
from pzlib.paths import root

EVALUATIONS = ("small_world", "next_tokens", "held_out")  # modules, whose `of_run(run)` makes one


def prompts_digest(asked: Iterable) -> str:
    """16 hex digits of what was asked, in its order: two scores with the same are paired question by question.

    >>> prompts_digest(["What is 1 plus 1 ?"]) == prompts_digest(["What is 1 plus 2 ?"])
    False
    """
    return hashlib.sha256(json.dumps(list(asked)).encode()).hexdigest()[:16]


def sampling_error(shares: Sequence[float], k: int) -> float:
    """The standard error that drawing k answers to each question leaves in their mean, from each share of right ones.
    0 for one answer, which is the most likely one.

    >>> sampling_error([0.5, 1.0, 0.0], 2), sampling_error([1.0, 0.0], 1)
    (0.166667, 0.0)
    """
    return round(math.sqrt(sum(p * (1 - p) / (k - 1) for p in shares)) / len(shares), 6) if k > 1 else 0.0


@dataclass(frozen=True)
class Evaluation:
    """`evaluate(model, tokenizer, step)` gives the rows of eval.csv but their step; for `pzlib.train.train`.

    name: what `named` makes it from again, in another process too, to which a function does not cross over. asked: the
    digest of all that is asked, and how often, at the steps `kept`, whose rows are `made_once`; "" where none is kept.
    """

    name: str
    ask: Callable[[object, object, int], list[dict]]
    asked: str = ""
    kept: tuple[int, ...] = ()

    def __call__(self, model, tokenizer, step: int) -> list[dict]:
        if not self.asked or step not in self.kept:
            return self.ask(model, tokenizer, step)
        return made_once(self.asked, model, tokenizer, lambda: self.ask(model, tokenizer, step))


def made_once(asked: str, model, tokenizer, ask: Callable[[], list[dict]]) -> list[dict]:
    """What `ask()` returns, kept under data/evaluations by the digest of everything that it depends on: what is asked,
    every weight, the tokenizer, this library's source and its libraries. So a base is asked once for all runs that
    start from it, a trained model once for its run and for those that go on from it. Two processes ask once too."""
    from filelock import FileLock

    from pzlib.runs.folder import NO_LOCKS, write_atomic

    words = [sorted(tokenizer.get_vocab().items()), tokenizer.eos_token, type(tokenizer).__name__]
    key = prompts_digest([asked, _weights(model), words, _source(), *map(metadata.version, ("torch", "transformers"))])
    path = root() / "data/evaluations/.kept" / f"{key}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(FileLock(path.with_suffix(".lock")))
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        if not path.is_file():
            write_atomic(path, json.dumps(ask()))
        return json.loads(path.read_text())


def _weights(model) -> str:
    """A digest of every value of a model, and of what its layers do with them."""
    import torch

    config = {name: value for name, value in model.config.to_dict().items() if name != "_name_or_path"}
    digest = hashlib.sha256(json.dumps([str(model.device), config], sort_keys=True, default=str).encode())
    for name, weight in sorted(model.state_dict().items()):
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        digest.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


@cache
def _source() -> str:
    """A digest of this library's files: whatever is changed in how models are asked, old answers are not taken."""
    files = sorted(Path(__file__).parents[1].rglob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def named(name: str, run) -> Evaluation:
    """The evaluation of that name for a run.

    >>> from pzlib.run import Run
    >>> named("small_word", Run(tier="smoke"))
    Traceback (most recent call last):
    ValueError: evaluation: there is no 'small_word'; did you mean small_world?
    """
    if name not in EVALUATIONS:
        raise ValueError(f"evaluation: there is no {name!r}; {near_names(name, EVALUATIONS)}")
    return import_module(f"{__name__}.{name}").of_run(run)


def evaluation_of(run) -> Evaluation | None:
    """What a run is asked along training: its held-out text, else what its method says; None for templates other than
    tiny, which know no small world."""
    if run.held_out:
        return named("held_out", run)
    return named(run.method.evaluation, run) if run.template == "tiny" else None
