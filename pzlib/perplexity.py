"""Perplexity of held-out plain text before and after training: does a method that never saw a next-token loss lower it?
Left out: long documents read in windows (RLP's Table S.8 does not say how it cuts them); a passage is read whole."""

from __future__ import annotations

import math
import sys

import pandas as pd
import torch

from pzlib import studies, tinywiki
from pzlib.masking import kind_of
from pzlib.models import load
from pzlib.nexttoken import cut, token_offsets
from pzlib.results import KEY, folder_of, merge
from pzlib.run import Run

TEXTS = 200  # held-out passages of a world: about 12,000 tokens


@torch.no_grad()
def surprises(model, ids: list[list[int]]) -> list[list[float]]:
    """-log p in nats of each token but the first of each text, under the model in eval mode; texts without a prompt."""
    training, found = model.training, []
    model.eval()
    try:
        for tokens in ids:
            read = torch.tensor([tokens], device=model.device)
            logp = model(input_ids=read, use_cache=False).logits[0, :-1].float().log_softmax(-1)  # (T - 1, V)
            found.append((-logp.gather(1, read[0, 1:, None])[:, 0]).tolist())
    finally:
        model.train(training)
    return found


def perplexity(model, tokenizer, passages) -> pd.DataFrame:
    """exp of the mean surprise: a row for all tokens (`task` "text") and, of labelled text, one for each class of kind.

    Columns task, group ("text" or "classes"), tokens, nats (mean), perplexity. It depends on the tokenizer: compare
    models that share one. Raises ValueError where no text has two tokens.
    """
    ids, offsets = token_offsets(tokenizer, [passage.text for passage in passages])
    told = {"text": []}
    for passage, own, places in zip(passages, surprises(model, ids), offsets, strict=True):
        told["text"] += own
        for nats, place in zip(own, places[1:], strict=True):
            if passage.kinds:
                kind = kind_of(passage.text, passage.kinds, cut(passage.text, *place))
                told.setdefault(tinywiki.kind_class(kind), []).append(nats)
    if not told["text"]:
        raise ValueError("passages: none has two tokens, so there is nothing to predict; give longer text")
    rows = []
    for task, nats in told.items():
        mean = math.fsum(nats) / len(nats)
        row = {"task": task, "group": "text" if task == "text" else "classes", "tokens": len(nats)}
        rows.append(row | {"nats": mean, "perplexity": math.exp(mean)})
    return pd.DataFrame(rows)


def by_run(runs, passages) -> pd.DataFrame:
    """`perplexity` of each Run's model before (step 0) and after (its last step), one row a run, step and task.

    Runs whose trained model is not in data/runs are left out. The models before are read once each.
    """
    before, tables = {}, []
    for run in runs:
        if not (run.folder / "model").is_dir():
            continue
        if run.model not in before:
            before[run.model] = perplexity(*load(run), passages)
        after = perplexity(*load(Run(**run.to_dict() | {"model": run.run_id, "name": ""})), passages)
        for step, table in ((0, before[run.model]), (run.steps, after)):
            key = {name: getattr(run, name) for name in KEY}
            tables.append(table.assign(**key, step=step)[[*KEY, "step", *table.columns]])
    return pd.concat(tables) if tables else pd.DataFrame(columns=[*KEY, "step", "task", "perplexity"])


def main(names, tier="mini"):
    """Measure the runs of some studies that are in data/runs, and bring them into perplexity.csv of the tier."""
    table = by_run(studies.runs_of(names, tier), tinywiki.passages("tinywiki", TEXTS, seed=-1))  # no run's seed
    path = folder_of(tier) / "perplexity.csv"
    if len(table):
        path.parent.mkdir(parents=True, exist_ok=True)
        merge(path, [table], ["step", "group", "task"])
    print(f"{path.name}: {table['run_id'].nunique()} runs measured")


if __name__ == "__main__":
    main(sys.argv[1:] or ["rlp"])
