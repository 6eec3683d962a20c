"""Completions as one table: what models answer to the same masked passages, a run's own predictions, real transcripts.
Left out: the passage of PretrainZero's Fig. 8, of which our notes have a part; `of_passage` takes any."""

import hashlib
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from pzlib.corpus.formats import records
from pzlib.errors import near_names, refuse_unknown
from pzlib.masking import apply_mask, random_span
from pzlib.prompts import TEMPLATES, parse_boxed, predictor_prompt
from pzlib.rewards import predictor_reward
from pzlib.runs.episodes import is_right
from pzlib.runs.folder import write_atomic
from pzlib.words import kind_of

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


def of_passage(models: dict, text: str, target: str, folder, samples: int = 4, rule: str = "all") -> pd.DataFrame:
    """What each of `models` ({source: Run that starts from it}) answers to one passage with `target` masked, as
    PretrainZero's Fig. 8: the completions of `answers`, for `pzlib.figures.inspector.casebook`.

    folder: where the answers are kept. Errors: ValueError where the mask is not legal; as `answers`.

    `of_passage({"base": run, "trained": models_of(run)[run.steps]}, "Rome is in Italy .", "Italy", "data/cases")`
    """
    masked, found = apply_mask(text, target, rule), []
    if masked is None:
        why = "give words that are in it, fewer than 8 times"
        raise ValueError(f"target: {target!r} cannot be masked in the passage; {why}")
    for source, run in models.items():
        cases = masked_cases([("", masked.text, masked.target)], run.template)
        path = Path(folder) / f"{case_of(cases['prompt'][0])}-{source}.jsonl"
        found.append(answers(run, cases, path, source=source, samples=samples))
    return pd.concat(found, ignore_index=True)


def held_out_passages(runs: Sequence, limit: int) -> list:
    """Up to `limit` passages of the text of `runs`, of documents none of whose passages any of them reads; fewer where
    the text has no more.

    runs: of one text and tokenizer. A world of ours is made by a seed that no run has; of any other text, what the
    runs read is drawn again, and left out. Errors: those of loading a text; ValueError where the runs read all of it.
    """
    from pzlib.world import tinywiki

    run = runs[0]
    if tinywiki.is_world(run.corpus):
        return tinywiki.held_out(run.corpus, limit)
    from transformers import AutoTokenizer

    from pzlib.engine.generation import seed_of

    tokenizer, texts = AutoTokenizer.from_pretrained(run.model_source, trust_remote_code=False), {}
    for one in runs:
        texts.setdefault((one.seed, one.corpus_limit), one)
    read = {_document(passage) for one in texts.values() for passage in one.method.load_items(one, tokenizer)}
    # several runs may read most of what is drawn: each a quarter of its pool
    other = replace(run, seed=seed_of("held out") % 2**31, corpus_limit=(3 + len(texts)) * limit)
    found = [passage for passage in run.method.load_items(other, tokenizer) if _document(passage) not in read]
    if not found:
        raise ValueError(f"corpus: the runs read all of {run.corpus}, so nothing is held out; give a larger text")
    return found[:limit]


def _document(passage) -> str:
    return passage.id.partition("~")[0].rpartition(".")[0]


def held_out_cases(runs: Sequence, per_kind: int) -> pd.DataFrame:
    """`masked_cases` of held-out passages, up to `per_kind` for each kind of hidden words, in the runs' own template.

    Of labelled text one word each; of any other a random span of the runs' lengths, whose kind its own words tell
    (`pzlib.words.kind_of`). Errors: as `held_out_passages`.
    """
    from pzlib.evaluation.small_world import spans  # loads torch

    run, passages, rng = runs[0], held_out_passages(runs, 400), random.Random("spans/-1")
    if passages[0].kinds:
        return masked_cases(spans(passages, per_kind, seed=-1), run.template)
    found = defaultdict(list)
    for passage in passages:
        span = random_span(passage.text, rng, run.span_words)
        masked = span and apply_mask(passage.text, span, most=run.max_occurrences)
        if masked and len(own := found[kind_of(passage.text, (), masked)]) < per_kind:
            own.append((kind_of(passage.text, (), masked), masked.text, masked.target))
    return masked_cases([item for kind in sorted(found) for item in found[kind]], run.template)


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
    import torch

    from pzlib.engine.models import to_ask  # these load torch
    from pzlib.evaluation.small_world import complete

    sizes = {"max_tokens": run.max_completion_tokens, "top_p": run.top_p, "max_rows": run.micro_batch_rows}
    model, tokenizer = to_ask(run)
    with torch.autocast(model.device.type, torch.bfloat16, enabled=run.dtype == "bfloat16"):
        asked = cases["prompt"].tolist()
        texts, lengths = complete(model, tokenizer, asked, samples, run.temperature, run.seed, **sizes)
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
