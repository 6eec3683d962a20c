"""Commands: `python -m pzlib run | batch | study | sweep | evaluate | compare | serve | plan | results | figures`.
Leaves out settings: they belong to the notebook, and `-p NAME VALUE` sets them."""

import sys

from pzlib import run as settings
from pzlib.arguments import parser
from pzlib.studylist import PLANS


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


def _batch(args):
    from pzlib.batch import batch

    axes = [(name, values) for name, *values in args.parameter]
    return batch(args.notebook, axes, args.seeds, args.output, args.jobs, args.gpus, args.address)


def _study(args):
    from pzlib import grid
    from pzlib.studies import runs_of, starts_of

    chosen = [name for name, study in PLANS.items() if args.all or (args.core and study.core)]
    names = list(dict.fromkeys([*chosen, *args.names]))
    if not names:
        raise ValueError(f"study: name one or more of {', '.join(PLANS)}, or give --core or --all")
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
    table[["accuracy", "reasoned"]] *= 100
    names = {"accuracy": "accuracy, %", "length": "tokens an answer", "reasoned": "reasoned first, %"}
    print(table.rename(columns=names).to_string(index=False, float_format="{:.1f}".format))
    for group, accuracy in table.groupby("group", sort=False)["accuracy"].mean().items():
        print(f"{group}: {accuracy:.1f} %, the mean over its tasks")
    return 0


def _serve(args):
    from pzlib.serving import serve

    serve(**{name: value for name, value in vars(args).items() if name != "command"})


def _plan(args):
    from pzlib.plan import measured, plan, run_of

    apart = {name: getattr(args, name) for name in ("tier", "objective", "model") if getattr(args, name)}
    run = run_of(args.parameter, **apart)
    if args.measure:
        print(measured(run))
    else:
        print(plan(run, args.hardware, args.gpus, args.prompt_tokens, args.completion_tokens, args.mfu))
    return 0


def _results(args):
    from pzlib.results import collect

    for run_id, state in collect(args.runs, args.results).items():
        print(f"{run_id}: {'collected' if state == 'complete' else f'left out, it is {state}'}")
    return 0


def _figures(args):
    from concurrent.futures import ProcessPoolExecutor

    from pzlib.figures import redraw
    from pzlib.readme import readme_tables, refresh

    readme = settings.ROOT / "README.md"
    tells = readme.is_file() and args.results == settings.ROOT / "data/results" and args.tier == "mini"
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
