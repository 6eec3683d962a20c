"""What models are asked after their runs: probes, perplexity, a case; and what the gate found of a base.
Leaves out what a run writes about itself (`pzlib.studies.results`), beside whose tables these are kept."""

from pathlib import Path

import pandas as pd
from filelock import FileLock

from pzlib.paths import root
from pzlib.run import Run
from pzlib.runs.folder import RunFolder, write_atomic
from pzlib.studies.metrics import values
from pzlib.studies.results import KEY, blank, folder_of, keyed, merge

PERPLEXITY_TEXTS = 200  # held-out passages: in the small world about 12,000 tokens


def keep_gate(run, found, out_dir=None):
    """Bring what the gate found of `run`'s model into gate.csv of its tier: a row a number, by name."""
    own = {"model": run.model, "corpus": run.corpus, "template": run.template, "seed": run.seed}
    new = pd.DataFrame([own | {"number": name, "value": value} for name, value in found.numbers.items()])
    path = folder_of(run.tier, out_dir) / "gate.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.parent / ".lock"):
        old = pd.read_csv(path) if path.exists() else new[:0]
        other = (old[list(own)] != pd.Series(own)).any(axis=1)
        table = pd.concat([part for part in (old[other], new) if len(part)])
        table = table.sort_values(list(own), kind="stable")
        write_atomic(path, table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))


def collect_probes(run_id, items=64, samples=4, out_dir=None):
    """Probe the reasoning of the model that a run started from (step 0) and of the one it ended with, and bring the
    rows into probes.csv of its tier; returns them. Those of a model without any reasoning count 0 questions.

    Errors: FileNotFoundError for no such run; ValueError for one that is not complete, and as `probes.probe`.
    """
    from pzlib.evaluation.probes import NothingToReplace, no_effects, probe

    folder = RunFolder(root() / "data/runs" / run_id)
    if not (folder.path / "params.json").is_file():
        raise FileNotFoundError(f"run: {run_id!r} is not a run of data/runs; `pzlib study NAME` makes some")
    if folder.state() != "complete":
        raise ValueError(f"run: {run_id} is {folder.state()}; probe it when it is complete")
    params, parts = folder.params(), []
    run = Run.from_dict({name: params[name] for name in Run(tier=params["tier"]).to_dict() if name in params})
    for step, model in ((0, run.model), (run.steps, run_id)):
        try:
            found = probe(run, model, items, samples)
        except NothingToReplace as error:
            print(f"step {step}: {error}")
            found = no_effects().assign(about="all")
        parts.append(keyed(folder, found.assign(step=step)))
    out = folder_of(run.tier, out_dir)
    out.mkdir(parents=True, exist_ok=True)
    with FileLock(out / ".lock"):
        merge(out / "probes.csv", parts, ["step", "about", "way", "measure"])
    return pd.concat(parts, ignore_index=True)


def probe_all(name, tier="mini", items=64, samples=4, out_dir=None):
    """`collect_probes` of one run, or of each finished run of a study that has no rows yet, one after the other."""
    from pzlib.studies import finished

    found, path = finished(name, tier), folder_of(tier, out_dir) / "probes.csv"
    stored = set(pd.read_csv(path)["run_id"]) if path.is_file() and found != [name] else set()
    parts = []
    for run_id in (run_id for run_id in found if run_id not in stored):
        if found != [name]:
            print(run_id, flush=True)
        parts.append(collect_probes(run_id, items, samples, out_dir))
    return pd.concat(parts, ignore_index=True) if parts else blank("probes")


def collect_perplexity(runs, tier="mini", texts=None):
    """Measure the perplexity of each Run's model before (step 0) and after (its last step), and bring the rows into
    perplexity.csv of the tier: a row per run, step and task.

    runs: of one text. texts: passages, the same for all; None: those of it that none of the runs reads (RLP's
    Table S.8: its own corpus, and Wikitext-103). Runs whose trained model is not in data/runs are left
    out. The models before are read once each.
    """
    from pzlib.engine.models import to_ask
    from pzlib.evaluation.cases import held_out_passages
    from pzlib.evaluation.next_tokens import perplexity

    runs = {run.run_id: run for run in runs}.values()  # a run can be two arms of a study
    there, before, tables = [run for run in runs if (run.folder / "model").is_dir()], {}, []
    try:
        texts = texts or (held_out_passages(there, PERPLEXITY_TEXTS) if there else [])
    except ValueError as error:  # a text of a user's own, which a run reads whole
        print(f"perplexity.csv: not measured: {error}")
        return
    for run in there:
        if run.model not in before:
            before[run.model] = perplexity(*to_ask(run), texts)
        after = perplexity(*to_ask(Run(**run.to_dict() | {"model": run.run_id, "name": ""})), texts)
        for step, table in ((0, before[run.model]), (run.steps, after)):
            key = {name: getattr(run, name) for name in KEY}
            tables.append(table.assign(**key, step=step)[[*KEY, "step", *table.columns]])
    if tables:
        path = folder_of(tier) / "perplexity.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        merge(path, tables, ["step", "group", "task"])
    print(f"perplexity.csv: {len(tables) // 2} runs measured")


def collect_case(runs, folder, samples=8, out_dir=None):
    """Write case.csv of the tier, and return its rows: a passage of the last stored step of the first of `runs` with
    its masks (no completion), and what its base and the last model of each run answer to one of them. None where no
    mask was legal, or a model is gone.

    Of each passage its best predicted mask is asked, of masks that take reasoning where any does; the passage is kept
    on which the first run gained most over its base. folder: where answers are kept, as by `cases.answers`.
    """
    from pzlib.evaluation.cases import answers, case_of, models_of
    from pzlib.prompts import TEMPLATES
    from pzlib.world.tinywiki import kind_class

    run, stored = runs[0], RunFolder(runs[0].folder)
    rows = stored.episodes(stored.episode_steps()[-1:])
    rows = rows[(rows["role"] == "predictor") & rows["mask"].notna() & rows["reward"].notna()]
    keys = ["passage_id", "mask", "kind", "prompt"]
    masks = rows.fillna({"kind": ""}).groupby(keys, sort=False)["reward"].agg(["mean", "size"]).reset_index()
    if masks.empty or not all((one.folder / "model").is_dir() for one in runs):
        return None
    reasons = masks["kind"].map(kind_class) == "reasoning"
    order = (masks[reasons] if reasons.any() else masks).sort_values("mean", ascending=False, kind="stable")
    asked = order.drop_duplicates("passage_id").rename(columns={"mask": "target"})
    asked = asked.assign(case=asked["prompt"].map(case_of)).drop_duplicates("case", ignore_index=True)
    found = []
    for of, step, one in ((run, 0, run), *((own, own.steps, models_of(own)[own.steps]) for own in runs)):
        name = f"case-{of.run_id}-{step}"
        own = answers(one, asked, Path(folder) / f"{name}.jsonl", source=name, step=step, samples=samples)
        found.append((of, step, own))
    shares = [own.groupby("case")["right"].mean() for *_, own in found]
    chosen = (shares[1] - shares[0]).reindex(asked["case"]).idxmax()
    (passage,) = asked.loc[asked["case"] == chosen, "passage_id"]
    before, after = TEMPLATES[run.template].predictor.split("{text}")
    table = [
        (run, run.steps, row.kind, row.mask, row.prompt, row.size, row.mean, None)
        for row in masks[masks["passage_id"] == passage].itertuples()
    ]
    for of, step, own in found:
        own = own[own["case"] == chosen]
        right = own["right"].mean()
        first = own[own["right"] == (right >= 0.5)].iloc[0]
        table.append((of, step, *first[["kind", "target", "prompt"]], len(own), right, first["completion"]))
    rows = [[*(getattr(one, name) for name in KEY), *rest] for one, *rest in table]
    kept = pd.DataFrame(rows, columns=[*KEY, "step", "kind", "target", "masked", "n", "right", "completion"])
    kept["masked"] = [prompt.removeprefix(before).removesuffix(after) for prompt in kept["masked"]]
    path = folder_of(run.tier, out_dir) / "case.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, kept.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    return kept


def thoughts_and_points(rows: pd.DataFrame, runs, limit: int = 200) -> pd.DataFrame:
    """What a thought could earn beside what RLP did: `pzlib.evaluation.bases.where_a_thought_pays` of each base and
    text of the small world, a row each.

    rows: of tinybench, of `runs`, each a Run of RLP. limit: passages that are read of a text. A column more: points
    (what each run did to the score on all questions, by seed; "" where none is stored).
    """
    from pzlib.engine.models import to_ask
    from pzlib.evaluation.bases import where_a_thought_pays

    parts = {}
    for base in dict.fromkeys(run.model for run in runs):
        own = [run for run in runs if run.model == base]
        table = where_a_thought_pays(*to_ask(own[0]), texts=[*dict.fromkeys(run.corpus for run in own)], limit=limit)
        for text in table.index:
            there = rows[rows["run_id"].isin([run.run_id for run in own if run.corpus == text])]
            change = values(there, "overall", "end") - values(there, "overall", "base")
            table.loc[text, "points"] = ", ".join(f"{points:+.1f}" for points in change)
        parts[base] = table
    return pd.concat(parts, names=["base"])
