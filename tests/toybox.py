"""All notebooks at a tier of GPU boxes, its world replaced by a toy one: `python -m tests.toybox TIER FOLDER`.

A random Qwen3 of two layers that never makes a legal mask, two hundred short articles of our own, two steps a run.
It shows that code runs to its end, not that anything is learned. For speed all of it is in one process: a notebook has
an empty namespace of one IPython shell, and a study's runs are made one after the other. At gpu they are made, then
get made-up scores; at paper there are none, then rows that are made up. What was found is in FOLDER/found.json."""

import gc
import json
import os
import random
import sys
import time
from pathlib import Path

TEXTS, PROBLEMS = 200, 24
# What a run of the toy world has in the place of its tier's sizes; a method's own are replaced by them too.
SIZES = {
    "corpus_limit": 12, "min_tokens": 16, "max_tokens": 160, "min_context": 4, "steps": 2, "passages": 2, "group": 2,
    "max_prompt_tokens": 480, "max_completion_tokens": 6, "micro_batch_rows": 64, "eval_every": 0, "save_every": 2,
    "keep_every": 1,
}  # fmt: skip
OF_METHOD = {"rlvr": {"passages": 4}}  # it learns a batch in up to four updates
# What each notebook is given beside its tier and the number of jobs, so that every section is reached.
GIVEN = {
    "00": {"group": 2},
    "07": {"per_kind": 2, "samples": 2, "cases": 1},
    "09": {"ablations": ["rpt_rewards"]},
    "11": {"every": True},
    "13": {"tasks": "math500,mmlu_pro", "limit": 2, "max_tokens": 4},
}
TASKS = {"math500": "math", "mmlu_pro": "general"}


def articles(seed):
    """Short articles of an encyclopaedia that there is not: names, years, counts, and what follows from them."""
    rng = random.Random(seed)
    starts = "Bel Cor Dra Fen Gal Har Ist Kel Lor Mor Nev Ost".split()
    ends = "mora den wick ford ania burg el holt".split()
    for number in range(TEXTS):
        town, river, land = (rng.choice(starts) + rng.choice(ends) for _ in range(3))
        built, people, lost = rng.randrange(1100, 1900), rng.randrange(20, 90), rng.randrange(2, 19)
        yield {"id": str(number), "title": town, "text": " ".join(rng.sample([
            f"{town} is a town on the river {river}, in the south of {land}.",
            f"Its old bridge was built in {built} and rebuilt {lost} years later, in {built + lost}.",
            f"About {people} families lived there at first, of whom {lost} soon moved on to the coast.",
            f"The market is held on Friday, two days before the fair of {land} begins.",
            f"Most of its people work in the mills, which have used the water of the {river} for centuries.",
            f"The library, named after a teacher from {town}, owns some {people} thousand books.",
            "Every spring the streets are closed to traffic, and children race boats of paper under the bridge.",
        ], 4))}  # fmt: skip


def problems():
    """Sums with worked solutions, in columns that the tiers' sets have."""
    rng = random.Random(0)
    for _ in range(PROBLEMS):
        a, b = rng.randrange(2, 60), rng.randrange(2, 60)
        worked = f"We add the two numbers. First, {a} + {b} = {a + b}. So there are {a + b} of them in the end."
        asked = f"A farmer has {a} sheep and buys {b} more. How many sheep has the farmer now, all in all?"
        yield {"question": asked, "problem": asked, "answer": str(a + b), "solution": f"{worked} $\\boxed{{{a + b}}}$"}


def build(folder):
    """The toy World, with its files under `folder`."""
    from benchmarkfiles import tiny_bpe, write

    from pzlib.prompts import PAPER
    from pzlib.tiers import Questions, Text, World

    write(folder / "benchmarks")
    files = {"general": list(articles(1)), "mathematical": list(articles(2)), "clean": list(problems())}
    for name, rows in files.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    seen = [row["text"] for row in files["general"]] + [PAPER.generator, PAPER.predictor, PAPER.question] * 50
    models = [tiny_bpe(folder / name, seed, 8192, seen, 700) for seed, name in enumerate(("base", "smaller", "proxy"))]
    own = {name: Text(str(folder / f"{name}.jsonl")) for name in ("general", "mathematical")}
    base, smaller, proxy = models
    return World(
        base=base, smaller=smaller, smaller_settings={"random_span_steps": 1}, proxies={base: proxy}, **own,
        clean=Text(str(folder / "clean.jsonl"), column="problem+solution"),
        problems=Questions(str(folder / "clean.jsonl")), benchmarks=tuple(TASKS), curve="math500",
        hardware="cpu", gpus=1, sizes=(smaller,),
    )  # fmt: skip


def enter(tier, world):
    """From here on in this process the tier is of the toy world, and a study's runs are made here."""
    from pzlib import objectives, tiers
    from pzlib.studies import queue
    from pzlib.studies.records import STUDIES

    general = world.general.settings()
    tiers.TIERS[tier].update(SIZES, model=world.base, corpus=general["corpus"], corpus_config="")
    tiers.WORLDS[tier] = world
    for method in objectives.METHODS:
        own = dict(method.tiers.get(tier, {}))
        toys = SIZES | {"model": world.base, "solutions": world.problems.name} | OF_METHOD.get(method.name, {})
        toys |= (world.problems if method.reads_problems else world.clean).settings()
        own = {name: toys.get(name, value) for name, value in own.items()} | OF_METHOD.get(method.name, {})
        if own.get("entropy_model", "policy") not in ("policy", "base"):
            own["entropy_model"] = world.proxies[world.base]
        method.tiers = method.tiers | {tier: own}
    for arm in [arm for study in STUDIES.values() for arm in study.arms.values() if "corpus_limit" in arm]:
        arm["corpus_limit"] = 60  # of plain text that does not come twice
    queue.work = work


def work(jobs, on, stream=None, done=lambda job: None):
    """`pzlib.studies.queue.jobs.work` in this process, one job after the other."""
    from pzlib.studies.queue.jobs import Row

    rows = []
    for job in jobs:
        row = Row(job.name, "skipped")
        if not job.complete():
            gc.freeze()  # a run collects garbage twice, and need not look through what notebooks have left
            try:
                row.state, code = "done", job.execute()
                assert code == 0 and job.complete()
            except Exception as error:  # as that of a process of its own: the others go on
                row.state, row.why = "failed", f"{type(error).__name__}: {error}"
        if row.state != "failed":
            done(job)
        rows.append(row)
    return rows


def played(path, parameters):
    """(what it printed, what went wrong in words or None) of a notebook, run top to bottom."""
    import nbformat
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output

    from pzlib.headless import read_parameters

    shell, said = InteractiveShell.instance(), []
    shell.reset(new_session=True)
    known = read_parameters(path)
    given = {name: value for name, value in parameters.items() if name in known}
    for number, cell in enumerate(nbformat.read(path, as_version=4).cells):
        if cell.cell_type != "code":
            continue
        source = cell.source
        if "parameters" in cell.metadata.get("tags", []):
            source += "".join(f"\n{name} = {value!r}" for name, value in given.items())
        with capture_output() as captured:
            result = shell.run_cell(source)
        said += [captured.stdout, *(str(out.data.get("text/plain", "")) for out in captured.outputs)]
        if error := result.error_before_exec or result.error_in_exec:
            return "\n".join(said), f"cell {number}: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
    return "\n".join(said), None


def notebooks(tier, folder, jobs, only=()):
    """{notebook: {"why": what failed or None, "said": what it printed, "seconds"}} in order.

    It fails as `pzlib run` says that it does: a cell, a run of a study, or a run that it announced and left unfinished.
    only: beginnings of names; (): all.
    """
    from pzlib.headless import ANNOUNCE, announced_in
    from pzlib.paths import REPO

    found, announced = {}, folder / "announced"
    for path in sorted((REPO / "notebooks").glob("*.ipynb")):
        number, began = path.name[:2], time.perf_counter()
        if only and number not in only:
            continue
        announced.write_text("")
        os.environ[ANNOUNCE] = str(announced)
        given = {"tier": tier, "seeds": [0], "jobs": jobs, "data": str(folder / "benchmarks")} | GIVEN.get(number, {})
        said, why = played(path, given)
        runs, failures = announced_in(announced)
        unfinished = [f"run {run.path.name} is {run.state()}" for run in runs if run.state() != "complete"]
        why = why or "; ".join([*failures, *unfinished]) or None
        found[path.stem] = {"why": why, "said": said, "seconds": round(time.perf_counter() - began, 1)}
        print(f"{path.stem}: {why or 'works'}, {found[path.stem]['seconds']} s", file=sys.stderr, flush=True)
    return found


def made_up(run_id, steps):
    """Scores that no model had, as `pzlib evaluate RUN --along` leaves them."""
    rng = random.Random(run_id)
    return [{"step": step, "task": task, "group": group, "n": 8, "k": 1, "correct": 4, "accuracy": rng.random(),
             "low": 0.1, "high": 0.9, "length": 20.0 + rng.random(), "reasoned": 0.5, "prompts": "made up"}
            for step in (0, steps // 2, steps) for task, group in TASKS.items()]  # fmt: skip


def score():
    """Made-up scores for every run that was made, and all of it collected."""
    from pzlib.paths import root
    from pzlib.runs.folder import RunFolder
    from pzlib.studies.results import collect

    for path in (root() / "data/runs").glob("*/params.json"):
        folder = RunFolder(path.parent)
        folder.append_eval(made_up(path.parent.name, folder.params()["steps"]))
    collect(root() / "data/runs", root() / "data/results")


def store(tier):
    """Made-up rows of every run of every study at the tier, as if all of them had been made elsewhere."""
    import pandas as pd
    from synthetic import training

    from pzlib import studies
    from pzlib.studies.results import folder_of

    runs, tables = studies.runs_of(studies.STUDIES, tier, [0]), {"runs": [], "training": [], "tinybench": []}
    for run in runs:
        key = {"run_id": run.run_id, "objective": run.objective, "tier": tier, "seed": 0}
        trained = training((run.objective,), seeds=1, steps=4, tier=tier, group=run.group)
        counted = {"rows_trained": 4.0, "tokens_prompt": 900.0, "tokens_completion": 100.0}  # of every method's runs
        if run.objective == "rlp":
            counted |= {"thought/empty": 0.5, "thought/naming": 0.1, "predictor/parsed": 1.0}
        absent = {name: value for name, value in counted.items() if name not in trained}
        tables["training"].append(trained.assign(run_id=run.run_id, **absent))
        tables["tinybench"].append(pd.DataFrame(made_up(run.run_id, 4)).assign(**key))
        tables["runs"].append(pd.DataFrame([run.to_dict() | key | {"hours": 1.0, "parameters": 1000}]))
    folder_of(tier).mkdir(parents=True, exist_ok=True)
    for name, parts in tables.items():
        pd.concat(parts).to_csv(folder_of(tier) / f"{name}.csv", index=False)


def main(tier, folder):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    os.environ |= {"PZLIB_HOME": str(folder / "home"), "HF_HUB_OFFLINE": "1", "MPLBACKEND": "agg"}
    enter(tier, build(folder))
    of_rows = ("03", "04", "05", "06", "07", "08", "09", "10", "11", "12", "14")
    if tier == "gpu":
        found = {"runs made": notebooks(tier, folder, jobs=1)}
        score()
        found["and scored"] = notebooks(tier, folder, 0, of_rows)
    else:
        found = {"no rows": notebooks(tier, folder, jobs=0)}
        store(tier)
        found["rows stored"] = notebooks(tier, folder, 0, of_rows)
    (folder / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main(*sys.argv[1:])
