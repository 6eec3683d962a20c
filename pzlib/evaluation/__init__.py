"""Scores of a model: the small world, next tokens, benchmarks. What a run is asked along training goes by a name.
Light: the modules named here are read when one of them is asked for."""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module

from pzlib.errors import near_names

EVALUATIONS = ("small_world", "next_tokens", "held_out")  # modules, whose `of_run(run)` makes one


def prompts_digest(asked: Iterable) -> str:
    """16 hex digits of what was asked, in its order: two scores with the same are paired question by question.

    >>> prompts_digest(["What is 1 plus 1 ?"]) == prompts_digest(["What is 1 plus 2 ?"])
    False
    """
    return hashlib.sha256(json.dumps(list(asked)).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Evaluation:
    """`evaluate(model, tokenizer, step)` gives the rows of eval.csv but their step; for `pzlib.train.train`.

    name: what `named` makes it from again, in another process too, to which a function does not cross over.
    """

    name: str
    ask: Callable[[object, object, int], list[dict]]

    def __call__(self, model, tokenizer, step: int) -> list[dict]:
        return self.ask(model, tokenizer, step)


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
