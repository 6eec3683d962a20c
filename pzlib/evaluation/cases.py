"""The same masked passages put to several models, lined up, and cases chosen from them by rule, never by taste.
Left out: the paper's own case (PretrainZero Fig. 8), one passage and one answer of each of two models."""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from pzlib.corpus.formats import records
from pzlib.errors import near_names, refuse_unknown
from pzlib.prompts import TEMPLATES, parse_boxed, predictor_prompt
from pzlib.rewards import predictor_reward
from pzlib.runs.episodes import is_right
from pzlib.runs.folder import write_atomic
from pzlib.studies.patterns import STRUCTURE

# source: who answered (a method, a model); step: its checkpoint; case: what was asked; sample: which of its answers;
# right: 1, 0, or null where nobody judged; length in tokens. Only the completion is never null.
COLUMNS = ("source", "seed", "step", "case", "sample", "kind", "prompt", "completion", "target", "prediction", "right",
           "length")  # fmt: skip



def case_of(prompt: str) -> str:
    """The id of a prompt: equal prompts, equal ids, in every run and file.

    >>> case_of("Passage : Rome is [mask] . Answer :")
    '9da3d10206'
    """
    return hashlib.blake2b(prompt.encode(), digest_size=5).hexdigest()



def tidy(rows: pd.DataFrame) -> pd.DataFrame:
    """`rows` with exactly `COLUMNS`; a case without an id goes by its prompt, samples are numbered as they come."""
    table = rows.reindex(columns=COLUMNS)
    unnamed = table["case"].isna()
    table["case"] = table["case"].where(~unnamed, table["prompt"].map(case_of, na_action="ignore")).astype("string")
    if table["sample"].isna().any():
        keys = ["source", "seed", "step", "case"]
        table["sample"] = table.groupby(keys, dropna=False).cumcount()
    return table.reset_index(drop=True)



def from_episodes(folder, source: str, steps=None) -> pd.DataFrame:
    """The predictions that a run stored: `folder` a RunFolder, `steps` as in its `episodes` (None: all)."""
    rows = folder.episodes(steps)
    rows = rows[(rows["role"] == "predictor") & rows["completion"].notna()]
    # The reward says it only where it is 1 or 0; a verifier's verdict goes before.
    right = [None if row["reward"] != row["reward"] else float(is_right(row)) for row in rows.to_dict("records")]
    rows = rows.rename(columns={"mask": "target"})
    return tidy(rows.assign(source=source, seed=folder.params()["seed"], right=right))



def read_completions(path, label: str | None = None, stop: str | None = None, **columns: str) -> pd.DataFrame:
    r"""The completions of a `.jsonl`, `.jsonl.gz` or `.parquet` file.

    columns: for a name of `COLUMNS` the file's own, as `completion="output", case="question_id"`; one that is not given
    goes by its own name, and may be missing, but for completion. label: the source, where no column
    says it; default: the file's name. stop: a text at which a completion ends, for answers that ran on into
    a next question. A cell may hold a list of completions: then cells of the row that are lists go with it one by one.
    Where the file has no column for it, the prediction is what is in the last box, and right (if there is a target)
    is whether it equals the target exactly.
    Errors: ValueError or FileNotFoundError naming the file and the column, with the near ones or the line.

    `read_completions("answers.jsonl", completion="output", prompt="question")`
    """
    path = Path(path)
    refuse_unknown(columns, COLUMNS, "column of completions")
    rows = records(path, "transcripts")
    if not rows:
        raise ValueError(f"{path}: holds no rows; give a file with a completion a row")
    known = list(dict.fromkeys(name for row in rows for name in row))
    for name, column in {"completion": "completion", **columns}.items():
        if column not in known:
            remedy = f"name it: {name}='...'; {near_names(column, known)}"
            raise ValueError(f"{path}: {column!r} is not a column, so there is no {name}; {remedy}")
    own = {name: columns.get(name, name) for name in COLUMNS}
    flat = [one for n, row in enumerate(rows, 1) for one in _one_by_one(row, own, f"{path}, row {n}")]
    table = pd.DataFrame(flat, columns=[*COLUMNS, "row"])
    table["source"] = table["source"].fillna(label or path.name.split(".")[0])
    if stop:
        table["completion"] = table["completion"].str.partition(stop)[0]
    if own["prediction"] not in known:
        table["prediction"] = [parse_boxed(said) for said in table["completion"]]
    table["right"] = _judged(table, own["right"] in known, path)
    if own["prompt"] not in known and own["case"] not in known:
        table["case"] = table["row"]  # nothing says what was asked: a row is a case
    return tidy(table)



def _one_by_one(row: dict, own: dict[str, str], where: str):
    """One dict by `COLUMNS` for each completion of a row of the file."""
    cells = {name: row.get(column) for name, column in own.items()}
    said = cells["completion"]
    texts = said if isinstance(said, list) else [said]
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(f"{where}: completion is {type(text).__name__}, not text; leave such rows out first")
        one = {}
        for name, cell in cells.items():
            if isinstance(said, list) and isinstance(cell, list):
                if len(cell) != len(said):
                    raise ValueError(f"{where}: {own[name]!r} has {len(cell)} values for {len(said)} completions")
                cell = cell[i]
            elif name == "target" and isinstance(cell, list):
                if len(cell) != 1:
                    raise ValueError(f"{where}: {own[name]!r} holds {len(cell)} targets; give one, or none and right")
                cell = cell[0]
            # Half a character, where a text was cut within one, is no UTF-8 and fits in no table.
            one[name] = cell.encode(errors="replace").decode() if isinstance(cell, str) else cell
        yield one | {"row": where.rpartition(" ")[2]}



def _judged(table: pd.DataFrame, given: bool, path: Path) -> pd.Series:
    if given:
        try:
            return table["right"].astype(float)
        except (TypeError, ValueError):
            raise ValueError(f"{path}: right must be true or false, or a number; name another column") from None
    pairs = zip(table["prediction"], table["target"], strict=True)
    scores = [predictor_reward(_text(said), str(target)) if _text(target) else None for said, target in pairs]
    return pd.Series(scores, index=table.index, dtype=float)



def _text(cell) -> str | None:
    return None if cell is None or cell != cell else str(cell)  # NaN is unequal to itself


RULES = ("largest gain", "largest loss", "largest change in structure", "random")



def masked_cases(items, template: str = "tiny") -> pd.DataFrame:
    """Cases to ask: (kind, masked text, target) triples, as `pzlib.evaluation.small_world.spans` gives, under a template's prompt.

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

    from pzlib.engine.models import load
    from pzlib.engine.sampling import sample

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

    table: `pzlib.studies.patterns.measured`. accuracy: share of right answers, second minus first, null where not judged.
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
