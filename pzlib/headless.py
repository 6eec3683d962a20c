"""Run a notebook without a browser: strict about its parameters, plain about how far it is, true in its exit code.
Leaves out what papermill does well: injecting the parameters and executing the cells."""

import ast
import contextlib
import logging
import os
import re
import sys
import tempfile
import threading
import time
from collections import deque
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.text import Text

from pzlib.errors import duration, fitted, near_names, parse_value, refuse_unknown, typed
from pzlib.hub import misspelt, of_hub
from pzlib.paths import REPO, locate, relative, root
from pzlib.run import Run
from pzlib.runs.folder import RunFolder, write_atomic

ANNOUNCE = "PZLIB_ANNOUNCE"  # names the file in which a notebook says which run it trains
SETTINGS = Run.__dataclass_fields__
# Parameters that name something to be read: a path, a run, a hub name; and how a name ends that can only be a file's.
READ = ("model", "against", "real_model", "entropy_model", "corpus", "real_corpus", "solutions", "transcripts", "data")
MODELS = ("model", "against", "real_model")  # of these, what can only be a hub name
REST = "settings"  # the parameter, a dict, in which a notebook takes every further setting of a Run
FILES = (".jsonl", ".json", ".csv", ".parquet", ".txt", ".tex", ".xml", ".bz2", ".gz")


def find(name):
    """The notebook that a person means: a path, or a name or the number it begins with, here or in `notebooks`.

    Below the working folder the path is relative to it, since executed copies name it. Raises FileNotFoundError with
    the nearest names.
    """
    path = Path(name)
    if path.is_file():
        return relative(path)
    folders = [path.parent, *(base / "notebooks" for base in (Path.cwd(), root(), REPO))]
    found = {p.stem: p for folder in reversed(folders) for p in sorted(folder.glob("*.ipynb"))}
    stem = path.name.partition(".")[0]
    meant = [p for known, p in found.items() if known == stem or known.startswith(f"{name}_")]
    if len(meant) == 1 and name in (stem, f"{stem}.ipynb"):
        return find(meant[0])
    raise FileNotFoundError(f"{name}: no such notebook; {near_names(stem, found)}")


def read_parameters(path):
    """{name: (default, its type where the default is None and something else tells it, else None)} of the parameters of
    the notebook at `path`, in order.

    They are the assignments in the one cell tagged `parameters`; each must be a plain literal, because a value computed
    there would not follow one given from outside. Raises FileNotFoundError, ValueError.
    """
    import nbformat

    path, found = find(path), {}
    try:
        cells = nbformat.read(path, as_version=4).cells
    except Exception as error:  # nbformat raises what its JSON and schema readers raise
        raise ValueError(f"{path}: not a notebook ({str(error).splitlines()[0][:200]})") from error
    cells = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    if len(cells) != 1:
        raise ValueError(f"{path}: {len(cells)} cells are tagged `parameters`; it needs exactly one")
    try:
        for statement in ast.parse(cells[0].source).body:
            match statement:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    kind = SETTINGS[name].type if name in SETTINGS else None
                case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=ast.expr() as value):
                    kind = _kind(annotation)
                case _:
                    raise ValueError
            default = ast.literal_eval(value)
            if kind is float and type(default) is int:  # `rate: float = 1`
                default = float(default)
            found[name] = default, kind if default is None else None
    except SyntaxError as error:
        raise ValueError(f"{path}: line {error.lineno} of the parameters cell is not Python") from error
    except (ValueError, TypeError) as error:
        line = ast.unparse(statement).splitlines()[0]
        raise ValueError(f"{path}: `{line}` in the parameters cell sets no name to a literal") from error
    return found


def _kind(annotation):
    """The one plain type that an annotation such as `int`, `"float | None"` or `Optional[str]` names, else None."""
    words = set(re.findall(r"\w+", ast.unparse(annotation))) - {"None", "Optional", "typing"}
    return {"bool": bool, "int": int, "float": float, "str": str}.get(words.pop()) if len(words) == 1 else None


def parse_parameters(path, pairs):
    """The (name, text) pairs of a command line as the parameters of the notebook at `path`; errors as of `checked`.

    A name that is not the notebook's, but is a setting of a Run, goes into its parameter `settings`, where it has one.
    """
    known, values = read_parameters(path), {}
    further = {name: (None, field.type) for name, field in SETTINGS.items() if name not in known and REST in known}
    what = f"parameter of {Path(path).name}" + (", or setting of a run" if further else "")
    refuse_unknown([name for name, _ in pairs], known | further, what)
    for name, text in pairs:
        if name in values:
            raise ValueError(f"{name}: given twice; give each parameter once")
        values[name] = parse_value(name, text, *(known | further)[name])
    return checked(path, values)


def checked(path, parameters):
    """`parameters` ({name: value}) of the notebook at `path`, each in its type: what can be refused before it starts.

    Raises ValueError for a name that it does not have, a wrong type, and a value that is impossible for the setting of
    a Run of that name; FileNotFoundError for a model or text that is a path, or a run, and not there.
    """
    known, values = read_parameters(path), {}
    further = [name for name in parameters if name in SETTINGS and name not in known]
    if REST in known and (rest := {name: parameters[name] for name in further}):
        own = {name: value for name, value in parameters.items() if name not in rest}
        parameters = own | {REST: known[REST][0] | own.get(REST, {}) | rest}
    refuse_unknown(parameters, known, f"parameter of {Path(path).name}")
    for name, value in parameters.items():
        default, kind = known[name]
        values[name] = fitted(name, value, default) if kind is None or value is None else typed(name, value, kind)
        if name in READ and isinstance(value, str) and locate(value) == value and not Path(value).is_absolute():
            wrong = misspelt(value) or (f"there is no file {value}" if value.lower().endswith(FILES) else None)
            if wrong:
                raise FileNotFoundError(f"{name}: {wrong}")
            if name in MODELS and Run(model=value).model_source == value:
                of_hub(value, name)
    settings = {name: default for name, (default, _) in known.items()} | values
    rest = settings.get(REST) if isinstance(settings.get(REST), dict) else {}
    further = [name for name in SETTINGS if name not in known]
    refuse_unknown(rest, further, "setting of a run that belongs in settings")
    own = {name: value for name, value in settings.items() if name in SETTINGS and value is not None}
    try:
        Run(**own | rest)
    except ValueError as error:
        if str(error).partition(":")[0] in values | rest:  # else it is of what the notebook sets itself
            raise
    return values


class Pace:
    """The time left of something that goes step by step, from the steps as they are seen to end.

    Nothing is printed before two have ended, as what came before the first is not a step; then the last twenty count.
    A step that is lower than the one before (a run that goes on from a checkpoint) begins again.

    >>> pace = Pace()
    >>> [pace.left(step, steps=20, now=now) for step, now in [(0, 0.0), (1, 50.0), (2, 60.0), (2, 65.0), (0, 70.0)]]
    [None, None, 180.0, 175.0, None]
    """

    def __init__(self):
        self._step, self._seen = None, deque(maxlen=20)  # (step, time) of each step that was seen to end

    def left(self, step, steps, now=None):
        """Seconds from `now` until `steps`, at the latest step `step`; never below 0, None where it is not known."""
        now = time.monotonic() if now is None else now
        if self._step is None or step < self._step:
            self._seen.clear()
        elif step > self._step:
            self._seen.append((step, now))
        self._step = step
        if len(self._seen) < 2:
            return None
        (first, then), (last, at) = self._seen[0], self._seen[-1]
        return max(0.0, (at - then) / (last - first) * (steps - last) - (now - at))


@contextlib.contextmanager
def progress(text, stream=None, seconds=15):
    """While entered, what `text()` returns is shown as it changes: in place on a terminal, which is left clean, else as
    a new line, at most one every `seconds`. stream: stderr by default."""
    console = Console(file=stream or sys.stderr, highlight=False)
    if console.is_terminal:
        with Live(get_renderable=lambda: Text(text(), overflow="ellipsis"), console=console, transient=True):
            yield
        return
    ended = threading.Event()

    def follow():
        last = ""
        while not ended.wait(0.5 if not last else seconds):
            if (now := text()) != last:
                last = now
                print(last, file=console.file, flush=True)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


class Doing:
    """What a notebook is doing, as text for a person. name: what to call it; cells: how many it has; runs(): the
    RunFolders announced so far. Set `cell` (from 1) as cells start, and `heading` where one is a section's."""

    def __init__(self, name, cells, runs):
        self.name, self.cells, self.runs, self._pace = name, cells, runs, Pace()
        self.cell, self.heading = 0, ""

    def text(self):
        """E.g. `04_pretrainzero: training, step 37 of 200, 1 min 20 s left`; where nothing trains, the section."""
        where = self.heading or (f"cell {self.cell} of {self.cells}" if self.cell else "starting")
        for folder in self.runs()[-1:]:
            if folder.state() == "running":
                status = folder.status()
                where = f"{status.get('doing') or 'training'}, step {status['step']} of {status['steps']}"
                left = self._pace.left(status["step"], status["steps"])
                where += f", {duration(left)} left" if left is not None else ""
        return f"{self.name}: {where}"


def announce(run):
    """Called in a notebook once its Run is built, so that the executed copy lands in the run's folder.

    Writes the run id for `run_notebook`; in a notebook that a person runs it does nothing.
    """
    _announce([run.run_id])


def announce_failures(lines):
    """Called by a grid of runs in a notebook, with a line for each run that failed: the notebook then fails too, but at
    its end, so that what could be made is shown."""
    _announce(f"!{' '.join(line.split())}" for line in lines)


def _announce(lines):
    if path := os.environ.get(ANNOUNCE):
        with open(path, "a") as file:
            file.writelines(f"{line}\n" for line in lines)


def announced_in(path):
    """(RunFolders, messages of failures) that a notebook has written to the file `path`."""
    lines = path.read_text().splitlines()
    folders = [RunFolder(root() / "data/runs" / line) for line in lines if not line.startswith("!")]
    return folders, [line[1:] for line in lines if line.startswith("!")]


def run_notebook(path, parameters=None, output=None, announced=None):
    """Execute the notebook at `path` with `parameters` ({name: value}); returns the process exit code.

    The executed copy goes to `output`, else into the folder of the run the notebook announces, else to
    data/runs/notebooks. announced: a file that takes the announced run ids and stays, so that others can follow.
    0: every cell ran, no announced run was left unfinished and none of a grid failed. 1: it failed, and one line on
    stderr says where. 130: interrupted. Bad input raises ValueError or FileNotFoundError before anything starts.
    """
    import nbformat

    path = find(path)
    parameters, began = checked(path, parameters or {}), datetime.now(UTC).isoformat(timespec="seconds")
    with tempfile.TemporaryDirectory(prefix="pzlib-") as scratch:
        copy, announced = Path(scratch) / path.name, Path(announced or Path(scratch) / "announced")
        announced.write_text("")
        cells = len(nbformat.read(path, as_version=4).cells) + bool(parameters)  # papermill adds one for them
        doing = Doing(path.stem, cells, lambda: announced_in(announced)[0])
        with progress(doing.text):
            code, why = _execute(path, copy, parameters, announced, doing)
        folders, failures = announced_in(announced)
        problems = [*filter(None, [why, *map(_unfinished, folders)]), *failures]
        kept = relative(_keep(copy, output, folders))
    if problems:
        print(f"{path}: {'; '.join(problems)}; executed copy: {kept}", file=sys.stderr)
        return code or 1
    old = [f.path.name for f in folders if f.state() == "complete" and f.status()["updated"] < began]
    before = f"run {', '.join(old)} was complete before, and nothing was trained; " if old else ""
    print(f"{path}: done; {before}executed copy: {kept}")
    return 0


def _execute(path, copy, parameters, announced, doing):
    """(exit code, what went wrong as text, or None)."""
    import papermill
    from nbclient.exceptions import DeadKernelError

    def started(cell, cell_index):
        doing.cell = cell_index + 1
        if cell.cell_type == "markdown" and cell.source.startswith("#"):
            doing.heading = cell.source.splitlines()[0].strip("# ")

    code, before = 1, os.environ.get(ANNOUNCE)
    os.environ |= {ANNOUNCE: str(announced), "JUPYTER_PREFER_ENV_PATH": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    try:
        papermill.execute_notebook(
            path, copy, parameters, progress_bar=False, on_cell_start=started, start_timeout=180,
            kernel_name="python3", language="python",  # this environment's own, whatever the notebook says
            extra_arguments=["--log-level=50"],  # the kernel's own log: what a cell says is in the copy
        )  # fmt: skip
    except papermill.PapermillExecutionError as error:
        text = " ".join(f"{error.ename}: {error.evalue}".split())
        return code, f"cell {error.cell_index + 1} (In [{error.exec_count}]) failed: {text[:500]}"
    except DeadKernelError:
        why = f"cell {doing.cell}: the kernel died (killed, or out of memory)"
    except RuntimeError as error:  # the kernel never answered
        why = " ".join(f"the kernel did not start: {error}".split())
    except KeyboardInterrupt:
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # its abandoned task would print a traceback
        code, why = 130, f"interrupted in cell {doing.cell}"
    else:
        return 0, None
    finally:
        os.environ.pop(ANNOUNCE)
        os.environ |= {ANNOUNCE: before} if before else {}
    _mark_failed(copy, max(doing.cell - 1, 0), why)
    return code, why


def _mark_failed(copy, index, why):
    """papermill calls the cell in which a kernel dies completed, and those after it too: put that right."""
    import nbformat

    notebook = nbformat.read(copy, as_version=4)
    for cell in notebook.cells[index:]:
        cell.metadata.setdefault("papermill", {}).update(status="pending", end_time=None)
    failed = next(cell for cell in notebook.cells[index:] if cell.cell_type == "code")
    failed.metadata.papermill.update(status="failed", exception=True)
    notebook.metadata.setdefault("papermill", {})["exception"] = True
    failed.outputs.append(nbformat.v4.new_output("error", ename="Stopped", evalue=why, traceback=[why]))
    nbformat.write(notebook, copy)


def _unfinished(folder):
    """Why an announced run is not complete; None where it is, or where nothing was trained."""
    ended = {"failed": "failed", "resumable": "was interrupted", "running": "is still running"}.get(folder.state())
    error = folder.status().get("error")
    return ended and f"run {folder.path.name} {ended}{f' ({error})' if error else ''} {folder.progress()}"


def _keep(copy, output, folders):
    """Move the executed copy to where it belongs; returns that path."""
    import nbformat

    folder = next((f.path for f in folders if f.path.is_dir()), root() / "data/runs/notebooks")
    kept = Path(output) if output else folder / copy.name
    kept.parent.mkdir(parents=True, exist_ok=True)
    notebook = nbformat.read(copy, as_version=4)
    notebook.metadata.get("papermill", {})["output_path"] = kept.name  # not the scratch folder it was executed in
    write_atomic(kept, nbformat.writes(notebook) + "\n")
    return kept
