"""The command line: `python -m pzlib run | study | sweep | evaluate | compare | results | figures`.
Leaves out settings: they belong to the notebook, and `-p NAME VALUE` sets them."""

import argparse
import sys
from pathlib import Path

from pzlib import run as settings
from pzlib.studies import STUDIES, runs_of, starts_of


def parser():
    """The arguments of every command; `main` dispatches on `command`."""
    top = argparse.ArgumentParser(prog="python -m pzlib", description="RL on plain text.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="execute a notebook, and keep the executed copy with its run")
    run.add_argument("notebook", type=Path)
    run.add_argument("-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"),
                     help="a parameter of the notebook; once for each")  # fmt: skip
    run.add_argument("-o", "--output", type=Path, help="where the executed copy goes, if not to its run")
    study = commands.add_parser("study", help="make the runs of one or more studies that are not stored yet")
    study.add_argument("names", nargs="*", metavar="STUDY", help=f"of {', '.join(STUDIES)}")
    study.add_argument("--core", action="store_true", help="the studies of `make mini`")
    study.add_argument("--all", action="store_true", help="every study: `make mini-all`")
    study.add_argument("--plan", action="store_true", help="only say how many runs and how long")
    study.add_argument("--tier", default="mini", choices=settings.TIERS)
    sweep = commands.add_parser("sweep", help="make the learning-rate sweep of every method, into data/results/sweep")
    for command in (study, sweep):
        command.add_argument("--jobs", type=int, default=2, help="runs at a time; they share the cores")
    _evaluate_parser(commands.add_parser("evaluate", help="ask a model TinyBench's questions, or those of benchmarks"))
    compare = commands.add_parser("compare", help="two stored evaluations, question by question")
    compare.add_argument("ours", help="a folder that `evaluate` made, or its name under data/evaluations")
    compare.add_argument("theirs")
    compare.add_argument("--tasks", nargs="+", default=[], metavar="TASK", help="only these of the benchmarks in both")
    results = commands.add_parser("results", help="collect run folders into the tables of data/results")
    results.add_argument("--runs", type=Path, default=settings.ROOT / "data/runs")
    figures = commands.add_parser("figures", help="redraw every figure from the tables of data/results")
    figures.add_argument("-o", "--output", type=Path, default=settings.ROOT / "figures")
    figures.add_argument("--tier", default="mini", choices=settings.TIERS)
    for command in (results, figures):
        command.add_argument("--results", type=Path, default=settings.ROOT / "data/results")
    return top


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


def main(argv=None):
    """Run one command; returns the exit code: 0 done, 1 failed, 2 bad input (one line says what)."""
    args = parser().parse_args(argv)
    try:
        return COMMANDS[args.command](args)
    except (ValueError, OSError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 2 if isinstance(error, ValueError | FileNotFoundError) else 1  # a full disk is no bad input


def _run(args):
    from pzlib.headless import run_notebook
    from pzlib.parameters import parse_parameters

    return run_notebook(args.notebook, parse_parameters(args.notebook, args.parameter), args.output)


def _study(args):
    from pzlib import grid

    chosen = [name for name, study in STUDIES.items() if args.all or (args.core and study.core)]
    names = list(dict.fromkeys([*chosen, *args.names]))
    if not names:
        raise ValueError(f"study: name one or more of {', '.join(STUDIES)}, or give --core or --all")
    runs, starts = runs_of(names, args.tier), starts_of(names, args.tier)
    if args.plan:
        print(grid.plan(runs, args.jobs, starts=starts))
        return 0
    return _told(grid.play(runs, args.jobs, starts=starts))


def _sweep(args):
    from pzlib import grid, studies

    runs = [run for _, run in studies.sweep()]
    return _told(grid.play(runs, args.jobs, results=settings.ROOT / "data/results/sweep"))


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

    from pzlib import evaluations
    from pzlib.harness import Protocol
    from pzlib.scores import shown

    protocol = Protocol(**{field.name: getattr(args, field.name) for field in dataclasses.fields(Protocol)})
    folders = []
    for model in filter(None, (args.model, args.against)):
        folder, table = evaluations.evaluate(model, args.tasks, protocol, args.data, args.random_option, args.output)
        print(f"\n{shown(table)}\nsamples, prompts and scores: {folder}")
        folders.append(folder)
    if args.against:
        return _compared(*folders, table["task"].unique())
    return 0


def _compare(args):
    from pzlib.benchmarks import chosen

    return _compared(args.ours, args.theirs, chosen(args.tasks) if args.tasks else ())


def _compared(ours, theirs, tasks):
    from pzlib.evaluations import compare

    for row in compare(ours, theirs, tasks).itertuples():
        sources = "" if row.sources != row.sources or row.sources is None else f" of {row.sources:.0f} sources"
        told = f"{100 * row.difference:+.1f} points [{100 * row.low:+.1f}, {100 * row.high:+.1f}], p = {row.p:.2g}"
        print(f"{row.task}: {row.ours} - {row.theirs} = {told} ({row.n} questions{sources}, paired)")
    return 0


def _tinybench(args):
    import pandas as pd

    from pzlib.evaluate import tinybench
    from pzlib.models import load

    run = settings.Run(model=args.model, eval_items=args.items)
    table = pd.DataFrame(tinybench(*load(run), items=run.eval_items))
    print(table.to_string(index=False))
    print(table.groupby("group", sort=False)["accuracy"].mean().rename("mean accuracy").to_string())
    return 0


def _results(args):
    from pzlib.results import collect

    for run_id, state in collect(args.runs, args.results).items():
        print(f"{run_id}: {'collected' if state == 'complete' else f'left out, it is {state}'}")
    return 0


def _figures(args):
    from pzlib import claims
    from pzlib.figures import redraw
    from pzlib.report import follow_on_table, main_table, refresh
    from pzlib.results import load
    from pzlib.studies import select

    for path in redraw(args.results, args.output, args.tier):
        print(path)
    readme = settings.ROOT / "README.md"
    if readme.is_file() and args.results == settings.ROOT / "data/results" and args.tier == "mini":
        tables = {name: load(name) for name in ("training", "tinybench")}
        told = claims.summary(claims.ledger(claims.load(), tables))
        results = main_table(select(tables["tinybench"], "baselines"))
        rlvr = follow_on_table(select(tables["tinybench"], "rlvr"))
        refresh(readme, {"results": results, "rlvr": rlvr, "claims": told})
    return 0


COMMANDS = {
    "run": _run,
    "study": _study,
    "sweep": _sweep,
    "evaluate": _evaluate,
    "compare": _compare,
    "results": _results,
    "figures": _figures,
}

if __name__ == "__main__":
    sys.exit(main())
