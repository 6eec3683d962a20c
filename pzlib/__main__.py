"""Commands: `python -m pzlib run | batch | study | sweep | evaluate | compare | serve | plan | results | figures`.
Leaves out settings: they belong to the notebook, and `-p NAME VALUE` sets them."""

import argparse
import sys
from dataclasses import fields
from pathlib import Path

from pzlib.errors import refuse_unknown
from pzlib.paths import root
from pzlib.run import TIERS, Run
from pzlib.studies.records import STUDIES


def parser():
    """The arguments of every command; `main` dispatches on `command`."""
    top = argparse.ArgumentParser(prog="python -m pzlib", description="RL on plain text.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="execute a notebook, and keep the executed copy with its run")
    run.add_argument("notebook", type=Path)
    run.add_argument("-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"),
                     help="a parameter of the notebook; once for each")  # fmt: skip
    run.add_argument("-o", "--output", type=Path, help="where the executed copy goes, if not to its run")
    _batch_parser(commands.add_parser("batch", help="execute a notebook for every combination of parameters, on Ray"))
    study = commands.add_parser("study", help="make the runs of one or more studies that are not stored yet")
    study.add_argument("names", nargs="*", metavar="STUDY", help=f"of {', '.join(STUDIES)}")
    study.add_argument("--core", action="store_true", help="the studies of `make mini`")
    study.add_argument("--all", action="store_true", help="every study: `make mini-all`")
    study.add_argument("--plan", action="store_true", help="only say how many runs and how long")
    study.add_argument("--tier", default="mini", choices=TIERS)
    sweep = commands.add_parser("sweep", help="make the learning-rate sweep of every method, into data/results/sweep")
    for command in (study, sweep):
        command.add_argument("--jobs", type=int, default=2, help="runs at a time; they share the cores")
    _evaluate_parser(commands.add_parser("evaluate", help="ask a model TinyBench's questions, or those of benchmarks"))
    compare = commands.add_parser("compare", help="two stored evaluations, question by question")
    compare.add_argument("ours", help="a folder that `evaluate` made, or its name under data/evaluations")
    compare.add_argument("theirs")
    compare.add_argument("--tasks", nargs="+", default=[], metavar="TASK", help="only these of the benchmarks in both")
    serve = commands.add_parser("serve", help="a vLLM server for runs with vllm_mode server; needs a GPU of its own")
    serve.add_argument("model", help="a folder, a run id or a hub name: the model that the run starts from")
    serve.add_argument("--dtype", default="bfloat16", choices=Run.choices("dtype"), help="the run's")
    serve.add_argument("--length", type=int, default=8192, help="tokens of prompt and completion together")
    serve.add_argument("--host", default="127.0.0.1", help="another one needs VLLM_API_KEY, a token of your own")
    serve.add_argument("--port", type=int, default=8000)
    serve.add_argument("--memory", type=float, default=0.9, help="share of a GPU's memory")
    serve.add_argument("--gpus", type=int, default=1)
    _plan_parser(commands.add_parser("plan", help="memory, FLOPs and hours of a run, before it is paid for"))
    results = commands.add_parser("results", help="collect run folders into the tables of data/results")
    results.add_argument("--runs", type=Path, default=root() / "data/runs")
    figures = commands.add_parser("figures", help="redraw every figure from the tables of data/results")
    figures.add_argument("-o", "--output", type=Path, default=root() / "figures")
    figures.add_argument("--tier", default="mini", choices=TIERS)
    for command in (results, figures):
        command.add_argument("--results", type=Path, default=root() / "data/results")
    return top



def _batch_parser(batch):
    """The arguments of `batch`; locally nothing but the notebook is needed."""
    batch.add_argument("notebook", type=Path)
    batch.add_argument("-p", "--parameter", nargs="+", action="append", default=[], metavar=("NAME", "VALUE"),
                       help="a parameter of the notebook and all its values; once for each")  # fmt: skip
    batch.add_argument("--seeds", nargs="+", default=[], metavar="SEED", help="numbers, and ranges such as 0-4")
    batch.add_argument("--jobs", type=int, help="at a time; by default one a GPU, else 2, on a cluster all that fit")
    batch.add_argument("--gpus", type=int, help="a job; by default 1 where there are any")
    batch.add_argument("--address", metavar="HOST:PORT", help="of a Ray cluster that this machine belongs to, or auto")
    batch.add_argument("-o", "--output", type=Path, help="folder of the executed notebooks and their records")



def _evaluate_parser(evaluate):
    """The arguments of `evaluate`; what is left out follows each benchmark's own habit."""
    evaluate.add_argument("model", help="a run id (id@step for one it kept), a folder or a hub name")
    evaluate.add_argument("--items", type=int, default=64, help="of TinyBench without --tasks: questions a task")
    evaluate.add_argument("--tasks", nargs="+", metavar="TASK", help="benchmarks, or all: the papers' ten")
    evaluate.add_argument("--data", action="append", default=[], metavar="FOLDER|TASK=FILE",
                          help="local files in the place of the hub's data sets; may be given again")  # fmt: skip
    evaluate.add_argument("--prompts", default="boxed", help="boxed (zero-shot), stock (few-shot, where there is one) "
                          "or tiny (the small world's)")  # fmt: skip
    evaluate.add_argument("--chat", action="store_true", help="put prompts into the tokenizer's chat template")
    evaluate.add_argument("--samples", type=int, help="answers a question; by default 32 for AIME and AMC, else 1")
    evaluate.add_argument("--temperature", type=float, help="by default 1 with several samples, else 0")
    evaluate.add_argument("--max-tokens", type=int, default=8192, help="of an answer")
    evaluate.add_argument("--limit", type=int, help="only the first so many questions of each benchmark")
    evaluate.add_argument("--seed", type=int, default=0)
    evaluate.add_argument("--batch", type=int, default=16, help="answers at once, of the backend hf")
    evaluate.add_argument("--backend", default="hf", help="hf, or vllm where it is installed")
    evaluate.add_argument("--random-option", action="store_true",
                          help="a random letter where an answer gives none, as the papers do; counted")  # fmt: skip
    evaluate.add_argument("--against", metavar="MODEL", help="evaluate this one too, and compare")
    evaluate.add_argument("-o", "--output", type=Path, help="in the place of data/evaluations; a folder a model in it")



def _plan_parser(plan):
    """The arguments of `plan`; what is left out is the tier's."""
    plan.add_argument("--tier", default="paper", choices=TIERS)
    plan.add_argument("--model", help="a folder, a run id or a hub name; only its config.json is read")
    plan.add_argument("--objective", default="pretrainzero", choices=Run.choices("objective"))
    plan.add_argument("--gpus", type=int, help="of that hardware; by default 8 at paper, else 1")
    plan.add_argument("--hardware", metavar="NAME", help="h100-80gb, a100-80gb, rtx4090-24gb, ...; cpu: this machine")
    plan.add_argument("--prompt-tokens", type=int, help="of a row in the mean; by default half of the most")
    plan.add_argument("--completion-tokens", type=int, help="by default a quarter of the most")
    plan.add_argument("--mfu", type=float, default=0.35, help="share of peak arithmetic that training reaches")
    plan.add_argument("-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"),
                      help="a setting of the run; once for each")  # fmt: skip
    plan.add_argument("--measure", action="store_true", help="train two steps here, and set their peak beside")


def main(argv=None):
    """Run one command; returns the exit code: 0 done, 1 failed, 2 bad input (one line says what)."""
    args = parser().parse_args(argv)
    try:
        return COMMANDS[args.command](args)
    except (ValueError, OSError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 2 if isinstance(error, ValueError | FileNotFoundError) else 1  # a full disk is no bad input



def _run(args):
    from pzlib.headless import parse_parameters, run_notebook

    return run_notebook(args.notebook, parse_parameters(args.notebook, args.parameter), args.output)



def _batch(args):
    from pzlib.studies.batch import batch

    axes = [(name, values) for name, *values in args.parameter]
    return batch(args.notebook, axes, args.seeds, args.output, args.jobs, args.gpus, args.address)



def _study(args):
    from pzlib.studies import queue, runs_of, starts_of

    chosen = [name for name, study in STUDIES.items() if args.all or (args.core and study.core)]
    names = list(dict.fromkeys([*chosen, *args.names]))
    if not names:
        raise ValueError(f"study: name one or more of {', '.join(STUDIES)}, or give --core or --all")
    runs, starts = runs_of(names, args.tier), starts_of(names, args.tier)
    if args.plan:
        print(queue.plan(runs, args.jobs, starts=starts))
        return 0
    return _told(queue.play(runs, args.jobs, starts=starts))



def _sweep(args):
    from pzlib import studies
    from pzlib.studies import queue

    runs = [run for _, run in studies.sweep()]
    return _told(queue.play(runs, args.jobs, results=root() / "data/results/sweep"))



def _told(found):
    failed = [run_id for run_id, what in found.items() if what.startswith("failed")]
    if failed:
        print(f"{len(failed)} of {len(found)} runs failed: {', '.join(failed)}; the same command tries them again")
    return int(bool(failed))



def _evaluate(args):
    if args.tasks is None:
        plain = vars(parser().parse_args(["evaluate", args.model]))
        given = [name for name, value in vars(args).items() if name != "items" and value != plain[name]]
        if given:
            raise ValueError(f"{given[0].replace('_', '-')}: belongs to benchmarks; name some with --tasks")
        return _tinybench(args)
    import dataclasses

    from pzlib.evaluation import stored
    from pzlib.evaluation.harness import Protocol
    from pzlib.evaluation.scores import shown

    protocol = Protocol(**{field.name: getattr(args, field.name) for field in dataclasses.fields(Protocol)})
    folders = []
    for model in filter(None, (args.model, args.against)):
        folder, table = stored.evaluate(model, args.tasks, protocol, args.data, args.random_option, args.output)
        print(f"\n{shown(table)}\nsamples, prompts and scores: {folder}")
        folders.append(folder)
    if args.against:
        return _compared(*folders, table["task"].unique())
    return 0



def _compare(args):
    from pzlib.evaluation.benchmarks import chosen

    return _compared(args.ours, args.theirs, chosen(args.tasks) if args.tasks else ())



def _compared(ours, theirs, tasks):
    from pzlib.evaluation.stored import compare

    for row in compare(ours, theirs, tasks).itertuples():
        sources = "" if row.sources != row.sources or row.sources is None else f" of {row.sources:.0f} sources"
        told = f"{100 * row.difference:+.1f} points [{100 * row.low:+.1f}, {100 * row.high:+.1f}], p = {row.p:.2g}"
        print(f"{row.task}: {row.ours} - {row.theirs} = {told} ({row.n} questions{sources}, paired)")
    return 0



def _tinybench(args):
    import pandas as pd

    from pzlib.engine.models import load
    from pzlib.evaluation.small_world import tinybench

    run = Run(model=args.model, eval_items=args.items)
    table = pd.DataFrame(tinybench(*load(run), items=run.eval_items))
    table[["accuracy", "reasoned"]] *= 100
    names = {"accuracy": "accuracy, %", "length": "tokens an answer", "reasoned": "reasoned first, %"}
    print(table.rename(columns=names).to_string(index=False, float_format="{:.1f}".format))
    for group, accuracy in table.groupby("group", sort=False)["accuracy"].mean().items():
        print(f"{group}: {accuracy:.1f} %, the mean over its tasks")
    return 0



def _serve(args):
    from pzlib.engine.vllm import serve

    given = {name: value for name, value in vars(args).items() if name not in ("command", "model")}
    serve(Run(model=args.model).model_source, **given)



def _plan(args):
    from pzlib.engine.plan import measured, plan

    run = run_of(args.parameter, **{name: getattr(args, name) for name in APART if getattr(args, name)})
    if args.measure:
        print(measured(run))
    else:
        print(plan(run, args.hardware, args.gpus, args.prompt_tokens, args.completion_tokens, args.mfu))
    return 0



APART = ("tier", "objective", "model")  # settings of a planned run that are options of their own


def run_of(pairs, **apart):
    """The Run of a command line's (setting, text) pairs and of the settings that have options of their own."""
    from pzlib.headless import parse_value

    start = Run(**apart)
    refuse_unknown([name for name, _ in pairs], [f.name for f in fields(Run)], "setting of a run")
    values = {}
    for name, text in pairs:
        if name in APART or name in values:
            raise ValueError(f"{name}: " + (f"give it as --{name}" if name in APART else "given twice; give it once"))
        values[name] = parse_value(name, text, getattr(start, name))
    return Run(**apart, **values)



def _results(args):
    from pzlib.studies.results import collect

    for run_id, state in collect(args.runs, args.results).items():
        print(f"{run_id}: {'collected' if state == 'complete' else f'left out, it is {state}'}")
    return 0



def _figures(args):
    from concurrent.futures import ProcessPoolExecutor

    from pzlib.figures import redraw
    from pzlib.studies.tables import readme_tables, refresh

    readme = root() / "README.md"
    tells = readme.is_file() and args.results == root() / "data/results" and args.tier == "mini"
    with ProcessPoolExecutor(1) as beside:
        tables = tells and beside.submit(readme_tables)
        for path in redraw(args.results, args.output, args.tier):
            print(path)
        if tables:
            refresh(readme, tables.result())
    return 0

COMMANDS = {
    "run": _run,
    "batch": _batch,
    "study": _study,
    "sweep": _sweep,
    "evaluate": _evaluate,
    "compare": _compare,
    "serve": _serve,
    "plan": _plan,
    "results": _results,
    "figures": _figures,
}

if __name__ == "__main__":
    sys.exit(main())
