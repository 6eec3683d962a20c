"""A notebook's matrix: every combination of the values given for its parameters is one job, with a name of its own.
Leaves out whether a value means something: the notebook says so when it runs."""

import hashlib
import itertools
import json
import re
from pathlib import Path

from pzlib.parameters import parse_value, read_parameters
from pzlib.refusals import refuse_unknown

LONGEST = 120  # characters of a name: it becomes that of files


def matrix(notebook, axes, seeds=()):
    """{name: parameters} of every job, in order, the last axis fastest.

    axes: (name, [text, ...]) pairs as typed on a command line; seeds: texts such as `0-4`, for the parameter `seed`.
    The rules are those of one run: ValueError for an unknown name, a wrong type or anything that is given twice.
    """
    defaults, values = read_parameters(notebook), {}
    axes = [*axes, ("seed", seeds_of(seeds))] if seeds else axes
    refuse_unknown([name for name, _ in axes], defaults, f"parameter of {Path(notebook).name}")
    for name, texts in axes:
        if name in values:
            raise ValueError(f"{name}: given twice; give each parameter once, with all its values")
        if not texts:
            raise ValueError(f"{name}: has no value; give one or more after it")
        values[name] = [parse_value(name, text, defaults[name]) for text in texts]
        for value in values[name]:
            if values[name].count(value) > 1:
                raise ValueError(f"{name}: the value {value!r} is given twice")
    combinations = [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]
    return {name_of(parameters) or Path(notebook).stem: parameters for parameters in combinations}


def seeds_of(texts):
    """Seeds and ranges of them, as typed, one by one; a range includes its end.

    >>> seeds_of(["0-2", "7"])
    ['0', '1', '2', '7']
    >>> seeds_of(["3-1"])
    Traceback (most recent call last):
    ValueError: seeds: wants numbers and ranges such as 0-4, got '3-1'
    """
    seeds = []
    for text in texts:
        first, last = (re.fullmatch(r"(\d+)(?:-(\d+))?", text) or re.match("()()", "")).groups()
        last = last or first
        if not first or int(last) < int(first):
            raise ValueError(f"seeds: wants numbers and ranges such as 0-4, got {text!r}")
        seeds += map(str, range(int(first), int(last) + 1))
    return seeds


def name_of(parameters):
    """What a job's files are called; 8 hex digits follow where the values alone would not tell two jobs apart.

    >>> name_of({"objective": "random_span", "seed": 3})
    'objective=random_span,seed=3'
    >>> name_of({"model": "Qwen/Qwen3-0.6B"})
    'model=Qwen_Qwen3-0.6B-093bb51b'
    """
    told = {name: str(value) for name, value in parameters.items()}
    safe = {name: re.sub(r"[^A-Za-z0-9._+-]", "_", text) for name, text in told.items()}
    name = ",".join(f"{name}={text}" for name, text in safe.items())
    if safe == told and len(name) <= LONGEST:
        return name
    return f"{name[:LONGEST]}-{hashlib.sha256(json.dumps(parameters).encode()).hexdigest()[:8]}"
