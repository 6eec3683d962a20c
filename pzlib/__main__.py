"""The command line: 0 done, 1 failed, 2 bad input, 130 interrupted, each but the first with one line why."""

import contextlib
import io
import json
import signal
import sys
from importlib import metadata
from pathlib import Path

import tyro
from tyro.conf import FlagCreatePairsOff

from pzlib.commands import COMMANDS
from pzlib.errors import refuse_unknown
from pzlib.run import Run

ABOUT = "Reinforcement pretraining on plain text. `pzlib COMMAND --help` says more; --version prints the version."


def train(task):
    """What each process of a run on several does, and so not listed: train the run of the JSON file `task`.

    It holds {"settings": as of `Run.to_dict`, "evaluation": the name of one of `pzlib.evaluation`, or null}.
    """
    from pzlib.engine.processes import as_child

    with as_child():
        import torch
        from accelerate import PartialState

        from pzlib import evaluation
        from pzlib.train import train

        told = json.loads(Path(task).read_text())
        state = PartialState(cpu=not torch.cuda.is_available())  # on processors accelerate has to be told
        run, name = Run.from_dict(told["settings"]), told["evaluation"]
        asks = name and state.is_main_process  # the others are never asked
        train(run, evaluate=evaluation.named(name, run) if asks else None)
        if state.num_processes > 1:
            state.destroy_process_group()
    return 0


def main(argv=None):
    """Run one command; returns the exit code: 0 done, 1 failed, 2 bad input, 130 interrupted (one line says what)."""
    argv = sys.argv[1:] if argv is None else list(argv)
    try:
        if argv[:1] == ["train"]:
            return train(*argv[1:])
        if argv == ["--version"]:
            print(f"pzlib {metadata.version('pzlib')}")
            return 0
        call = _call(argv or ["--help"])
        with _terminable():
            return call()
    except KeyboardInterrupt as stop:
        print(str(stop) or "interrupted; run the same command again to go on", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 2 if isinstance(error, ValueError | FileNotFoundError) else 1  # a full disk is no bad input


def _call(argv):
    """The command of a command line as a function without arguments; ValueError, in a line, for a wrong one."""
    if not argv[0].startswith("-"):
        refuse_unknown(argv[:1], COMMANDS, "command")
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            return tyro.extras.subcommand_cli_from_dict(
                COMMANDS, prog="pzlib", description=ABOUT, args=argv, config=(FlagCreatePairsOff,)
            )
    except SystemExit as stop:
        if not stop.code:
            return lambda: 0
        lines = [line.strip("│ ") for line in errors.getvalue().splitlines()[1:]]
        words = " ".join(lines[: next((i for i, line in enumerate(lines) if not line or line[0] in "─╰"), None)])
        raise ValueError(f"{words} See `pzlib {argv[0]} --help`.") from None


@contextlib.contextmanager
def _terminable():
    """While entered, SIGTERM is what Ctrl-C is: what was started is stopped, and goes on from its checkpoint."""

    def stop(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())
