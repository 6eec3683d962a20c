"""The commands, `pzlib COMMAND`: each function gives its exit code, its arguments and docstring are the help.
Leaves out settings: they belong to the notebook, and `-p NAME VALUE` sets them."""

import inspect
import signal
from dataclasses import fields
from functools import partial, wraps
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, UseAppendAction, arg

from pzlib.errors import parse_value, refuse_unknown
from pzlib.paths import relative, root
from pzlib.run import TIERS, Run

APART = ("tier", "objective", "model")  # settings of a planned run that are options of their own
NEXT_TOKENS = "next_tokens"  # what a run is asked beside benchmarks
COMMANDS = {}


def command(example):
    """A function as a command of its name: its arguments are those of the command line, its docstring is the help."""

    def listed(function):
        later = wraps(function)(lambda *args, **options: partial(function, *args, **options))
        later.__doc__ = f"{function.__doc__}\n\nExample: {example}"
        COMMANDS[function.__name__] = later
        return function

    return listed


def given(kind, text, metavar=None, *aliases):
    """An argument of a command, with its help; the defaults None, () and False are not shown, as they say nothing."""
    hint = "" if metavar or kind is bool else None
    return Annotated[kind, arg(help=text, metavar=metavar, aliases=aliases, help_behavior_hint=hint)]


PAIRS, AXES = UseAppendAction[tuple[tuple[str, str], ...]], UseAppendAction[tuple[tuple[str, ...], ...]]
NOTEBOOK = Positional[given(str, "its path, its name or its number", "NOTEBOOK")]
SHARED = given(PAIRS, "give every run this setting; repeat for more", "NAME VALUE", "-p")
SEEDS = given(tuple[str, ...], "seeds, or ranges such as 0-4 (default: those of the study)", "SEED ...")
JOBS = given(int, "how many runs at a time; they share the cores")
TABLES = given(Path | None, "folder with the tables (default: data/results)", "PATH")
MODEL = "a run id (RUN_ID@STEP for a model that the run kept), a folder or a hub name"


def output(text):
    return given(Path | None, text, "PATH", "-o")


@command("pzlib run 04 -p tier mini -p seed 2")
def run(
    notebook: NOTEBOOK, /,
    parameter: given(PAIRS, "give the notebook this parameter; repeat for more", "NAME VALUE", "-p") = (),
    output: output("where to write the executed copy (default: the folder of its run)") = None,
):  # fmt: skip
    """Execute a notebook, and keep the executed copy with its run."""
    from tempfile import TemporaryDirectory

    from pzlib.headless import announced_in, find, parse_parameters, run_notebook

    path = find(notebook)
    with TemporaryDirectory(prefix="pzlib-") as scratch:
        announced = Path(scratch) / "announced"
        code = run_notebook(path, parse_parameters(path, parameter), output, announced)
        folders = announced_in(announced)[0]
    if code == 0 and folders:
        from pzlib.studies.tables import before_and_after

        print(before_and_after(folders[0]) or f"run: {relative(folders[0].path)}")
        if (picture := relative(folders[0].path / "view.png")).is_file():
            print(f"picture: {picture}\nnext: `make lab` opens the notebooks, `make mini` makes the core studies")
    return code


@command("pzlib batch 04 -p objective pretrainzero random_span --seeds 0-4")
def batch(
    notebook: NOTEBOOK, /,
    parameter: given(AXES, "a parameter and all its values; repeat for more", "NAME VALUE ...", "-p") = (),
    seeds: given(tuple[str, ...], "seeds, or ranges such as 0-4", "SEED ...") = (),
    jobs: given(int | None, "how many at a time (default: one per GPU, else 2; all on a cluster)", "INT") = None,
    gpus: given(int | None, "GPUs for each job (default: 1 if there are GPUs)", "INT") = None,
    address: given(str | None, "a Ray cluster that this machine belongs to, or auto", "HOST:PORT") = None,
    output: output("folder for the executed notebooks and their records") = None,
):  # fmt: skip
    """Execute a notebook for every combination of parameters, here or on a Ray cluster."""
    from pzlib.headless import find
    from pzlib.studies.batch import batch

    return batch(find(notebook), [(name, values) for name, *values in parameter], seeds, output, jobs, gpus, address)


@command("pzlib study collapse --plan")
def study(
    names: Positional[given(tuple[str, ...], "which studies to run", "STUDY ...")] = (),
    core: given(bool, "run the studies of `make mini`") = False,
    all: given(bool, "run every study, one after the other, as `make mini-all` does") = False,
    plan: given(bool, "only print how many runs there are and how long they take") = False,
    tier: given(Literal[*TIERS], "the size of the runs") = "mini",
    seeds: SEEDS = (),
    jobs: JOBS = 2,
    address: given(str | None, "a Ray cluster that this machine belongs to, or auto", "HOST:PORT") = None,
    parameter: SHARED = (),
):
    """Train the runs of studies that are not stored yet."""
    from pzlib.studies import leaving_out, queue, runs_of, starts_of
    from pzlib.studies.boxes import shown_by
    from pzlib.studies.records import STUDIES
    from pzlib.studies.sweeps import refuse_unswept, unswept

    names = list(dict.fromkeys([*(name for name, own in STUDIES.items() if all or core and own.core), *names]))
    if not names:
        raise ValueError(f"study: name one or more of {', '.join(STUDIES)}, or give --core or --all")
    print(leaving_out(names, tier), end="")
    of = {"tier": tier, "seeds": seeds_of(seeds), "settings": shared_by(parameter)}
    runs, starts = runs_of(names, **of), starts_of(names, **of)
    if plan:
        counted = set()
        for name in names if len(names) > 1 else ():  # a run of several studies counts where it is made first
            own = [run for run in runs_of([name], **of) if run.run_id not in counted]
            counted |= {run.run_id for run in own}
            print(f"  {name}: {queue.plan(own, jobs)}\n" * bool(own), end="")
        print(unswept(names, tier) + queue.plan(runs, jobs, starts=starts))
        return 0
    refuse_unswept(names, tier)
    code = _failed(queue.play(runs, jobs, starts=starts, address=address))
    print(shown_by(names))
    return code


def shared_by(pairs):
    """{setting: value} of a command line's pairs, which all runs of a study are given."""
    kinds = {field.name: field.type for field in fields(Run)}
    return {name: parse_value(name, text, None, kinds.get(name)) for name, text in pairs}


def seeds_of(words):
    """The seeds that words such as 0-4 name; None, for a study's own, where there are no words."""
    from pzlib.studies import batch

    return [int(seed) for seed in batch.seeds_of(words)] or None


@command("pzlib sweep")
def sweep(jobs: JOBS = 2):
    """Train every method's learning-rate sweep, at `mini`, until it brackets the best rate; into data/results/sweep."""
    from pzlib.studies.sweeps import widen

    return _failed(widen(jobs))


def _failed(found):
    failed = [run_id for run_id, what in found.items() if what.startswith("failed")]
    if failed:
        print(f"{len(failed)} of {len(found)} runs failed: {', '.join(failed)}; the same command tries them again")
    return int(bool(failed))


@command("pzlib evaluate RUN_ID --tasks math500 gsm8k --against Qwen/Qwen3-0.6B-Base")
def evaluate(
    model: Positional[given(str, MODEL, "MODEL")], /,
    items: given(int, "questions per TinyBench task") = 64,
    tasks: given(
        tuple[str, ...], "ask these benchmarks, or all (the papers' ten); next_tokens, with --along, asks for those of "
        "text that the run does not read", "TASK ...",
    ) = (),
    data: given(UseAppendAction[tuple[str, ...]], "read local files, not hub data sets", "FOLDER|TASK=FILE") = (),
    prompts: given(str, "boxed (zero-shot), stock (few-shot where there are examples) or tiny") = "boxed",
    chat: given(bool, "wrap prompts in the tokenizer's chat template") = False,
    samples: given(int | None, "answers per question (default: 32 for AIME and AMC, else 1)", "INT") = None,
    temperature: given(float | None, "sampling temperature (default: 1 with several samples, else 0)", "FLOAT") = None,
    max_tokens: given(int, "longest answer, in tokens") = 8192,
    limit: given(int | None, "ask only the first questions of each benchmark", "INT") = None,
    seed: given(int, "random seed of the sampled answers") = 0,
    batch: given(int, "answers at a time, with the backend hf") = 16,
    backend: given(str, "hf, own (this library's sampler) or vllm, if it is installed") = "hf",
    random_option: given(bool, "where an answer has no letter, take a random one, as the papers do") = False,
    against: given(str | None, "also evaluate this model, and compare the two", "MODEL") = None,
    along: given(bool, "score a run, or all runs of a study, along training: start, kept models, end") = False,
    tier: given(Literal[*TIERS], "the tier of the study's runs, with --along") = "paper",
    parameter: SHARED = (),
    jobs: given(int, "how many models at a time with --along, one per GPU") = 1,
    output: output("folder for the evaluations (default: data/evaluations)") = None,
):  # fmt: skip
    """Score a model: on TinyBench and masked words or, with --tasks, on benchmarks, which all other options are for."""
    asked = locals()
    if not tasks and not along:
        plain = inspect.signature(evaluate).parameters
        for name in asked.keys() - {"model", "items"}:
            if asked[name] != plain[name].default:
                raise ValueError(f"{name.replace('_', '-')}: belongs to benchmarks; name some with --tasks")
        if items < 1:
            raise ValueError(f"items: must be at least 1, got {items}")
        from pzlib.evaluation.small_world import described

        print(described(Run(model=model, eval_items=items)))
        return 0
    from pzlib.engine.processes import end_with_parent
    from pzlib.evaluation import scores
    from pzlib.evaluation.harness import Protocol

    end_with_parent()
    protocol, folders = Protocol(**{field.name: asked[field.name] for field in fields(Protocol)}), []
    if jobs != 1 and not along:
        raise ValueError("jobs: belongs to --along; one model is asked by one process")
    if along:
        if against:
            raise ValueError("against: does not go with --along, which compares a run's models with its start")
        from pzlib.evaluation import next_tokens
        from pzlib.evaluation.along import along, shown
        from pzlib.studies import finished

        rest = [task for task in tasks if task != NEXT_TOKENS]
        for run_id in finished(model, tier, shared_by(parameter)):
            if NEXT_TOKENS in tasks:
                next_tokens.along(run_id, limit or next_tokens.HELD_OUT)
            if rest or not tasks:
                print(shown(along(run_id, rest, protocol, data, random_option, output, jobs), run_id))
        return 0
    for one in filter(None, (model, against)):
        folder, table = scores.evaluate(one, tasks, protocol, data, random_option, output)
        print(f"\n{scores.shown(table)}\nsamples, prompts and scores: {relative(folder)}")
        folders.append(folder)
    return _compared(*folders, table["task"].unique()) if against else 0


@command("pzlib compare RUN_ID tinybase_a")
def compare(
    ours: Positional[given(str, "a folder that `pzlib evaluate` wrote, or its name under data/evaluations", "OURS")],
    theirs: Positional[given(str, "the one to compare it with", "THEIRS")], /,
    tasks: given(tuple[str, ...], "compare only these benchmarks", "TASK ...") = (),
):  # fmt: skip
    """Compare two stored evaluations, question by question."""
    from pzlib.evaluation.benchmarks import chosen

    return _compared(ours, theirs, chosen(tasks) if tasks else ())


def _compared(ours, theirs, tasks):
    from pzlib.evaluation.scores import compare

    for row in compare(ours, theirs, tasks).itertuples():
        sources = "" if row.sources != row.sources or row.sources is None else f" of {row.sources:.0f} sources"
        points = f"{100 * row.difference:+.1f} points [{100 * row.low:+.1f}, {100 * row.high:+.1f}], p = {row.p:.2g}"
        print(f"{row.task}: {row.ours} - {row.theirs} = {points} ({row.n} questions{sources}, paired)")
    return 0


@command("pzlib gate Qwen/Qwen3-0.6B-Base --corpus my_text.jsonl --tier gpu")
def gate(
    model: Positional[given(str, MODEL, "MODEL")], /,
    corpus: given(str | None, "its text: a file, a folder or a hub name (default: the tier's)", "TEXT") = None,
    tier: given(Literal[*TIERS], "the tier whose lengths and prompts are used") = "gpu",
    passages: given(int, "passages to play under each rule") = 8,
    parameter: given(PAIRS, "give the run this setting; repeat for more", "NAME VALUE", "-p") = (),
    results: TABLES = None,
):  # fmt: skip
    """Check in minutes whether a model can play at all: a few passages under every rule, with bounds and remedies."""
    from pzlib.evaluation.gate import gate
    from pzlib.studies.measured import keep_gate

    run = run_of(parameter, tier=tier, objective="random_span", model=model, corpus=corpus)
    found = gate(run, passages)
    keep_gate(run, found, results)
    print(found)
    return 0


@command("pzlib probe RUN_ID --items 64")
def probe(
    run: Positional[given(str, "the id of a finished run, or a study: its runs that are not stored", "RUN")], /,
    items: given(int, "held-out passages or problems to ask about") = 64,
    samples: given(int, "answers per question") = 4,
    tier: given(Literal[*TIERS], "the tier of the study's runs") = "mini",
    results: TABLES = None,
):  # fmt: skip
    """Check whether a run's reasoning does anything: replace it by another item's, by blanks, by a generic sentence."""
    from pzlib.studies.measured import probe_all
    from pzlib.studies.tables import probe_table

    print(probe_table(probe_all(run, tier, items, samples, results)))
    return 0


@command("pzlib serve Qwen/Qwen3-4B-Base --length 5632")
def serve(
    model: Positional[given(str, f"the model that the run starts from: {MODEL}", "MODEL")], /,
    dtype: given(Literal[*Run.choices("dtype")], "the run's dtype") = "bfloat16",
    length: given(int, "longest prompt and completion together, in tokens") = 8192,
    host: given(str, "address to listen on; any but loopback needs your own token in VLLM_API_KEY") = "127.0.0.1",
    port: given(int, "port to listen on") = 8000,
    memory: given(float, "share of each GPU's memory to use") = 0.9,
    gpus: given(int, "how many GPUs share the model") = 1,
):  # fmt: skip
    """Serve a model with vLLM, on GPUs of its own, to runs with `vllm_mode server`."""
    from pzlib.engine.vllm import serve

    return serve(Run(model=model).model_source, dtype, length, host, port, memory, gpus)


@command("pzlib plan --tier paper --model Qwen/Qwen3-8B-Base -p use_vllm true -p processes 8")
def plan(
    tier: given(Literal[*TIERS], "the tier, which gives every setting that is not given") = "paper",
    model: given(str | None, f"{MODEL}; only its config.json is read", "MODEL") = None,
    objective: given(Literal[*Run.choices("objective")], "the method") = "pretrainzero",
    gpus: given(int | None, "how many GPUs (default: 8 at paper, else 1)", "INT") = None,
    hardware: given(str | None, "kind of GPU, such as h100-80gb or rtx4090-24gb, or cpu (this machine)", "NAME") = None,
    prompt_tokens: given(int | None, "mean prompt length (default: half of the maximum)", "INT") = None,
    completion_tokens: given(int | None, "mean completion length (default: a quarter of the maximum)", "INT") = None,
    mfu: given(float, "share of the peak FLOP/s that training reaches") = 0.35,
    parameter: given(PAIRS, "give the run this setting; repeat for more", "NAME VALUE", "-p") = (),
):
    """Estimate memory, FLOPs and hours of a run."""
    from pzlib.engine.plan import plan

    run = run_of(parameter, tier=tier, objective=objective, **({"model": model} if model else {}))
    if gpus is None and "processes" in dict(parameter):
        gpus = run.processes
    print(plan(run, hardware, gpus, prompt_tokens, completion_tokens, mfu))
    return 0


def run_of(pairs, **apart):
    """The Run of a command line's (setting, text) pairs and of the settings that have options of their own."""
    start, values = Run(**apart), {}
    refuse_unknown([name for name, _ in pairs], start.to_dict(), "setting of a run")
    for name, text in pairs:
        if name in APART or name in values:
            raise ValueError(f"{name}: " + (f"give it as --{name}" if name in APART else "given twice; give it once"))
        values[name] = parse_value(name, text, getattr(start, name))
    return Run(**apart, **values)


@command("pzlib export RUN_ID -o my-model")
def export(
    run: Positional[given(str, "the id of a finished run", "RUN")], /,
    output: output("folder of the export (default: data/exports/RUN)") = None,
    push: given(str | None, "also upload it to the Hugging Face hub, under this name", "OWNER/NAME") = None,
    public: given(bool, "make the upload public (default: only its owner can see it)") = False,
):
    """Write a finished run's model, settings, scores and model card into a folder that the hub takes."""
    from pzlib.export import export, upload

    if public and not push:
        raise ValueError("public: nothing is uploaded; give --push OWNER/NAME too, or leave --public out")
    folder = export(run, output)
    print(f"model, settings and card: {relative(folder)}")
    if push:
        print(f"uploaded: {upload(folder, push, public)}")
    return 0


@command("pzlib results")
def results(
    runs: given(Path | None, "folder with run folders (default: data/runs)", "PATH") = None, results: TABLES = None
):
    """Collect finished runs into the tables of data/results."""
    from pzlib.studies.results import collect

    for run_id, state in collect(runs or root() / "data/runs", results or root() / "data/results").items():
        print(f"{run_id}: {'collected' if state == 'complete' else f'left out, it is {state}'}")
    return 0


@command("pzlib figures")
def figures(
    output: output("folder for the figures (default: figures; with --papers figures/papers)") = None,
    tier: given(Literal[*TIERS], "the tier whose results are drawn; the README's tables are those of mini") = "mini",
    results: TABLES = None,
    papers: given(bool, "draw the papers' figures and tables beside ours, and list what makes their rows") = False,
    parameter: SHARED = (),
):
    """Draw every figure again from the tables of data/results, and write the README's tables."""
    from concurrent.futures import ProcessPoolExecutor

    if papers:
        from pzlib.figures.beside import draw_all

        draw_all(tier, output or root() / "figures/papers", results, shared_by(parameter))
        return 0
    from pzlib.figures import redraw
    from pzlib.studies.results import folder_of
    from pzlib.studies.tables import readme_tables, refresh

    readme, of_tier = root() / "README.md", folder_of(tier, results)
    with ProcessPoolExecutor(1, initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN)) as beside:
        tables = of_tier == root() / "data/results" and readme.is_file() and beside.submit(readme_tables)
        drawn = redraw(of_tier, output or root() / "figures", tier, shared_by(parameter))
        print(f"{len({path.stem for path in drawn})} figures drawn into {relative(output or root() / 'figures')}")
        if tables:
            refresh(readme, tables.result())
    return 0
