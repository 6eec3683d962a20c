"""Completions as one table: what models answer to the same masked passages, a run's own predictions, real transcripts.
Left out: the paper's own case (PretrainZero Fig. 8), one passage and one answer of each of two models."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd

from pzlib.corpus.formats import records
from pzlib.errors import near_names, refuse_unknown
from pzlib.prompts import TEMPLATES, parse_boxed, predictor_prompt
from pzlib.rewards import predictor_reward
from pzlib.runs.episodes import is_right
from pzlib.runs.folder import write_atomic

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
        table["sample"] = table.groupby(["source", "seed", "step", "case"], dropna=False).cumcount()
    return table.reset_index(drop=True)


def lined_up(table: pd.DataFrame, sources=None) -> pd.DataFrame:
    """The rows of those cases that every one of `sources` (default: all in `table`) has answered; perhaps none."""
    names = list(sources or dict.fromkeys(table["source"]))
    rows = table[table["source"].isin(names)]
    return rows[rows.groupby("case")["source"].transform("nunique") == len(names)]


def from_episodes(folder, source: str, steps=None) -> pd.DataFrame:
    """The predictions that a run stored: `folder` a RunFolder, `steps` as in its `episodes` (None: all)."""
    rows = folder.episodes(steps).rename(columns={"mask": "target"})
    rows = rows[(rows["role"] == "predictor") & rows["completion"].notna()]
    # The reward says it only where it is 1 or 0; a verifier's verdict goes before.
    right = [None if row["reward"] != row["reward"] else float(is_right(row)) for row in rows.to_dict("records")]
    return tidy(rows.assign(source=source, seed=folder.params()["seed"], right=right))


def read_completions(path, label: str | None = None, stop: str | None = None, **columns: str) -> pd.DataFrame:
    r"""The completions of a `.jsonl`, `.jsonl.gz` or `.parquet` file.

    columns: for a name of `COLUMNS` the file's own, as `completion="output", case="question_id"`; one that is not given
    goes by its own name, and may be missing, except completion. label: the source where no column says it; default:
    the file's name. stop: a text at which a completion ends, for answers that ran on into a next question.
    A cell may hold a list of completions: then cells of the row that are lists go with it one by one. Where the file
    has no column for it, the prediction is what is in the last box, and right (with a target) whether it is equal.
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
            missing = f"{column!r} is not a column, so there is no {name}"
            raise ValueError(f"{path}: {missing}; name it: {name}='...'; {near_names(column, known)}")
    own = {name: columns.get(name, name) for name in COLUMNS}
    flat = [one | {"row": str(n)} for n, row in enumerate(rows, 1) for one in _split(row, own, f"{path}, row {n}")]
    table = pd.DataFrame(flat, columns=[*COLUMNS, "row"])
    table["source"] = table["source"].fillna(label or path.name.split(".")[0])
    if stop:
        table["completion"] = table["completion"].str.partition(stop)[0]
    if own["prediction"] not in known:
        table["prediction"] = [parse_boxed(text) for text in table["completion"]]
    try:
        table["right"] = (table["right"] if own["right"] in known else pd.Series(_judged(table))).astype(float)
    except (TypeError, ValueError):
        raise ValueError(f"{path}: right must be true or false, or a number; name another column") from None
    if own["prompt"] not in known and own["case"] not in known:
        table["case"] = table["row"]  # nothing says what was asked: a row is a case
    return tidy(table)


def _split(row: dict, own: dict[str, str], where: str) -> Iterator[dict]:
    """One dict by `COLUMNS` for each completion of a row of the file."""
    cells = {name: row.get(column) for name, column in own.items()}
    lists = {name: cell for name, cell in cells.items() if isinstance(cell, list)}
    if "completion" not in lists:
        if len(lists.get("target", [None])) != 1:
            many = f"{own['target']!r} holds {len(lists['target'])} targets"
            raise ValueError(f"{where}: {many}; give one, or none and right")
        cells["target"], lists = lists["target"][0] if "target" in lists else cells["target"], {}
    texts = lists.get("completion", [cells["completion"]])
    for name, cell in lists.items():
        if len(cell) != len(texts):
            raise ValueError(f"{where}: {own[name]!r} has {len(cell)} values for {len(texts)} completions")
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(f"{where}: completion is {type(text).__name__}, not text; leave such rows out first")
        yield cells | {name: cell[i] for name, cell in lists.items()}


def _judged(table: pd.DataFrame) -> list[float | None]:
    """Whether each prediction equals its target; None where there is no target."""
    pairs = table[["prediction", "target"]].astype(object).where(table.notna(), None).itertuples(index=False)
    texts = ((None if cell is None else str(cell) for cell in pair) for pair in pairs)
    return [predictor_reward(said, target) if target else None for said, target in texts]


def masked_cases(items, template: str = "tiny") -> pd.DataFrame:
    """Cases to ask: (kind, masked text, target) triples, as `small_world.spans` returns, under a template's prompt.

    >>> masked_cases([("capital", "Rome is in [mask] .", "Italy")])["prompt"].tolist()
    ['Passage : Rome is in [mask] . Answer :']
    """
    asked = [(kind, predictor_prompt(text, TEMPLATES[template]), target) for kind, text, target in items]
    rows = [(case_of(prompt), kind, prompt, target) for kind, prompt, target in asked]
    return pd.DataFrame(rows, columns=["case", "kind", "prompt", "target"]).drop_duplicates("case", ignore_index=True)


def answers(run, cases: pd.DataFrame, path, *, source: str, step: int = 0, samples: int = 4) -> pd.DataFrame:
    """What `run.model` answers to `cases`: `samples` completions each, kept in the jsonl at `path` and read from there
    when asked again, so that a notebook can be run again without the models.

    Drawn as in the run, with its seed, so that models asked with one seed share their random numbers. A file that holds
    other cases or samples is made again; that the weights are still the same is not checked.
    Errors: FileNotFoundError where neither file nor model is there.
    """
    path = Path(path)
    wanted = {(case, sample) for case in cases["case"] for sample in range(samples)}
    if path.exists():
        stored = read_completions(path)
        if set(zip(stored["case"], stored["sample"], strict=True)) == wanted:
            return stored.assign(source=source, seed=run.seed, step=step)  # their names are the asker's
    table = _asked(run, cases, samples).assign(source=source, seed=run.seed, step=step)[list(COLUMNS)]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, table.to_json(orient="records", lines=True))
    return table


def _asked(run, cases, samples):
    from pzlib.engine.models import to_ask  # these load torch
    from pzlib.evaluation.small_world import complete

    sizes = {"max_tokens": run.max_completion_tokens, "top_p": run.top_p, "max_rows": run.micro_batch_rows}
    texts, lengths = complete(*to_ask(run), cases["prompt"].tolist(), samples, run.temperature, run.seed, **sizes)
    table = cases.loc[cases.index.repeat(samples)].reset_index(drop=True)
    table = table.assign(completion=texts, length=lengths, sample=list(range(samples)) * len(cases))
    table["prediction"] = [parse_boxed(text) for text in texts]
    return tidy(table.assign(right=_judged(table)))


def models_of(run) -> dict:
    """{step: Run that starts from it} of a run's models: checkpoints, those kept on the way, last its final one.

    The final one is named whether it is there or not, so that asking it says what is missing.

    >>> from pzlib.run import Run
    >>> [(step, run.model) for step, run in models_of(Run(name="mine", steps=20)).items()]
    [(20, 'mine')]
    """
    found = [*run.folder.glob("checkpoints/checkpoint-*"), *run.folder.glob("model-*")]
    steps = sorted((int(step), path) for path in found if (step := path.name.rpartition("-")[2]).isdigit())
    earlier = {step: replace(run, model=str(path)) for step, path in steps if step < run.steps}
    return earlier | {run.steps: replace(run, model=run.run_id)}
