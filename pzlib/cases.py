"""The same masked passages put to several models, lined up, and cases chosen from them by rule, never by taste.
Left out: the paper's own case (PretrainZero Fig. 8), one passage and one answer of each of two models."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from pzlib.folder import write_atomic
from pzlib.patterns import STRUCTURE
from pzlib.prompts import TEMPLATES, parse_boxed, predictor_prompt
from pzlib.rewards import predictor_reward
from pzlib.transcripts import COLUMNS, case_of, read_completions, tidy

RULES = ("largest gain", "largest loss", "largest change in structure", "random")


def masked_cases(items, template: str = "tiny") -> pd.DataFrame:
    """Cases to ask: (kind, masked text, target) triples, as `pzlib.evaluate.spans` gives, under a template's prompt.

    >>> masked_cases([("capital", "Rome is in [mask] .", "Italy")])["prompt"].tolist()
    ['Passage : Rome is in [mask] . Answer :']
    """
    rows = [{"kind": kind, "prompt": predictor_prompt(text, TEMPLATES[template]), "target": target}
            for kind, text, target in items]  # fmt: skip
    table = pd.DataFrame(rows, columns=["kind", "prompt", "target"])
    table.insert(0, "case", table["prompt"].map(case_of))
    return table.drop_duplicates("case", ignore_index=True)


def answers(run, cases: pd.DataFrame, path, *, source: str, step: int = 0, samples: int = 4) -> pd.DataFrame:
    """What `run.model` answers to `cases`: `samples` completions each, kept in the jsonl at `path` and read from there
    when asked again, so that a notebook can be run anew without the models.

    Drawn as in the run (its temperature, top-p and completion tokens) with the run's seed, so that models asked with
    one seed share their random numbers. A file that holds other cases or fewer samples is made anew; that the
    weights are still the same is not checked. Errors: FileNotFoundError where neither file nor model is there.
    """
    path = Path(path)
    wanted = {(case, sample) for case in cases["case"] for sample in range(samples)}
    if path.exists():
        stored = read_completions(path)
        if set(zip(stored["case"], stored["sample"], strict=True)) == wanted:
            return stored.assign(source=source, seed=run.seed, step=step)  # their names are the asker's
    table = _asked(run, cases, samples).assign(source=source, seed=run.seed, step=step)[list(COLUMNS)]
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    write_atomic(path, "".join(json.dumps(row) + "\n" for row in rows))
    return table


def _asked(run, cases, samples):
    import torch

    from pzlib.models import load
    from pzlib.sampling import sample

    model, tokenizer = load(run)
    ids = tokenizer(cases["prompt"].tolist())["input_ids"]
    drawn = sample(
        model, ids, samples, max_new_tokens=run.max_completion_tokens, eos_ids=[tokenizer.eos_token_id],
        pad_id=tokenizer.pad_token_id, temperature=run.temperature, top_p=run.top_p, max_rows=run.micro_batch_rows,
        generator=torch.Generator(device=model.device).manual_seed(run.seed),
    )  # fmt: skip
    table = cases.loc[cases.index.repeat(samples)].reset_index(drop=True)
    table["completion"] = tokenizer.batch_decode(drawn.completion_ids, skip_special_tokens=True)
    table["length"] = [len(tokens) for tokens in drawn.completion_ids]
    table["sample"] = list(range(samples)) * len(cases)
    predictions = [parse_boxed(said) for said in table["completion"]]
    pairs = zip(predictions, table["target"], strict=True)
    right = [predictor_reward(said, target) for said, target in pairs]
    return tidy(table.assign(prediction=predictions, right=right))


def models_of(run) -> dict:
    """{step: Run that starts from it} of a run's models: checkpoints, those kept on the way, last its final one.

    The final one is named whether it is there or not, so that asking it says what is missing.

    >>> from pzlib.run import Run
    >>> [(step, run.model) for step, run in models_of(Run(name="mine", steps=20)).items()]
    [(20, 'mine')]
    """
    found = [*run.folder.glob("checkpoints/checkpoint-*"), *run.folder.glob("model-*")]
    steps = {int(path.name.rpartition("-")[2]): path for path in found if path.name.rpartition("-")[2].isdigit()}
    earlier = {step: replace(run, model=str(steps[step])) for step in sorted(steps) if step < run.steps}
    return earlier | {run.steps: replace(run, model=run.run_id)}


def lined_up(table: pd.DataFrame, sources=None) -> pd.DataFrame:
    """The rows of those cases that every one of `sources` (default: all in `table`) has answered; perhaps none."""
    names = list(sources or dict.fromkeys(table["source"]))
    rows = table[table["source"].isin(names)]
    return rows[rows.groupby("case")["source"].transform("nunique") == len(names)]


def changes(table: pd.DataFrame, first: str, second: str) -> pd.DataFrame:
    """By case, what changes from source `first` to `second`: columns accuracy (difference) and structure (distance).

    table: `pzlib.patterns.measured`. accuracy: share of right answers, second minus first, null where not judged.
    structure: the mean of seven differences in [0, 1]: of the share of answers with each structural mark, and of the
    mean lengths in words, divided by the longer. Errors: ValueError where the two share no case.
    """
    rows = lined_up(table, [first, second])
    if rows.empty:
        raise ValueError(f"case: {first!r} and {second!r} have no case in common; ask both the same passages")
    means = rows.groupby(["case", "source"], sort=False)[["right", *STRUCTURE, "words"]].mean().unstack("source")
    before, after = (means.xs(name, axis=1, level="source") for name in (first, second))
    apart = (after - before).abs()[list(STRUCTURE)]
    longer = np.maximum(after["words"], before["words"])
    apart["words"] = ((after["words"] - before["words"]).abs() / longer).fillna(0.0)  # two empty answers are alike
    return pd.DataFrame({"accuracy": after["right"] - before["right"], "structure": apart.mean(axis=1)})


def chosen(changed: pd.DataFrame, n: int = 2, seed: int = 0) -> dict[str, list[str]]:
    """Up to `n` cases by each of `RULES`: {rule: case ids}; no case twice, the rules take turns in their order.

    changed: `changes`. Of equal changes the one that a shuffle by `seed` puts first is taken; a gain or loss of 0 is
    none, so a rule may find fewer than `n`.

    >>> changed = pd.DataFrame({"accuracy": [0.5, -1.0, 0.0], "structure": [0.1, 0.2, 0.9]}, index=["a", "b", "c"])
    >>> chosen(changed, n=1)
    {'largest gain': ['a'], 'largest loss': ['b'], 'largest change in structure': ['c'], 'random': []}
    """
    order = list(changed.index)
    random.Random(f"cases/{seed}").shuffle(order)
    mixed = changed.loc[order]
    ranked = {
        "largest gain": mixed[mixed["accuracy"] > 0].sort_values("accuracy", ascending=False, kind="stable"),
        "largest loss": mixed[mixed["accuracy"] < 0].sort_values("accuracy", kind="stable"),
        "largest change in structure": mixed[mixed["structure"] > 0].sort_values(
            "structure", ascending=False, kind="stable"
        ),
        "random": mixed,
    }
    found = {rule: [] for rule in RULES}
    for _ in range(n):
        for rule in RULES:
            taken = {case for cases in found.values() for case in cases}
            found[rule] += [case for case in ranked[rule].index if case not in taken][:1]
    return found
