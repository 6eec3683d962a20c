"""Run a notebook without a browser: strict about its parameters, true in its exit code.
Leaves out what papermill does well: injecting the parameters and executing the cells."""

import ast
import logging
import os
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from pzlib.errors import near_names, refuse_unknown, typed
from pzlib.paths import root
from pzlib.runs.folder import RunFolder, write_atomic


def read_parameters(path):
    """Name and default of every parameter of the notebook at `path`: {name: literal}, in order.

    They are the assignments in the one cell tagged `parameters`; each must be a plain literal, because
    a value computed there would not follow one given from outside. Raises FileNotFoundError, ValueError.
    """
    import nbformat

    path = Path(path)
    if not path.is_file():
        known = [p.name for p in sorted(path.parent.glob("*.ipynb"))]
        hint = near_names(path.name, known) if known else f"{path.parent} holds no notebook"
        raise FileNotFoundError(f"{path}: no such notebook; {hint}")
    try:
        notebook = nbformat.read(path, as_version=4)
    except Exception as error:  # nbformat raises what its JSON and schema readers raise
        raise ValueError(f"{path}: not a notebook ({str(error).splitlines()[0][:200]})") from error
    cells = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    if len(cells) != 1:
        raise ValueError(f"{path}: {len(cells)} cells are tagged `parameters`; it needs exactly one")
    defaults = {}
    try:
        for statement in ast.parse(cells[0].source).body:
            match statement:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    defaults[name] = ast.literal_eval(value)
                case _:
                    raise ValueError
    except SyntaxError as error:
        raise ValueError(f"{path}: line {error.lineno} of the parameters cell is not Python") from error
    except (ValueError, TypeError) as error:
        line = ast.unparse(statement).splitlines()[0]
        raise ValueError(f"{path}: `{line}` in the parameters cell sets no name to a literal") from error
    return defaults



def fitted(name, value, default):
    """`value` in the type of `default`, its items in that of its first item; None takes any.

    >>> fitted("rate", 1, 0.5)
    1.0
    >>> fitted("seeds", [1, 2.5], [0])
    Traceback (most recent call last):
    ValueError: seeds[1]: wants an int, got the float 2.5
    """
    if default is None:
        return value
    value = typed(name, value, type(default))
    if isinstance(value, list | tuple) and default:
        return type(value)(fitted(f"{name}[{i}]", item, default[0]) for i, item in enumerate(value))
    return value



def parse_value(name, text, default):
    """The value that `text`, typed on a command line, stands for where the notebook says `default`.

    >>> parse_value("rate", "1e-6", 0.5), parse_value("live", "false", True), parse_value("name", "1", "mine")
    (1e-06, False, '1')
    >>> parse_value("every", "false", None), parse_value("seeds", "[1, 2]", None), parse_value("name", "a.jsonl", None)
    (False, [1, 2], 'a.jsonl')
    >>> parse_value("steps", "ten", 200)
    Traceback (most recent call last):
    ValueError: steps: wants an int such as 200, got 'ten'
    """
    if isinstance(default, str):
        return text
    word = text.strip()
    if isinstance(default, bool) or word.lower() in ("true", "false", "none"):
        word = word.capitalize()
    try:
        value = ast.literal_eval(word)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
        if default is None:
            return text
        kind = type(default).__name__
        article = "an" if kind == "int" else "a"
        raise ValueError(f"{name}: wants {article} {kind} such as {default!r}, got {text!r}") from error
    return fitted(name, value, default)



def parse_parameters(path, pairs):
    """The (name, text) pairs of a command line as the typed parameters of the notebook at `path`."""
    defaults, values = read_parameters(path), {}
    refuse_unknown([name for name, _ in pairs], defaults, f"parameter of {Path(path).name}")
    for name, text in pairs:
        if name in values:
            raise ValueError(f"{name}: given twice; give each parameter once")
        values[name] = parse_value(name, text, defaults[name])
    return values


class Progress:
    """While entered, says which cell runs and how far training is: in place on a terminal, else now and then.

    name: what to call it; runs(): the RunFolders announced so far; cells: how many there are.
    Set `.cell` (from 1) as cells start.
    """

    def __init__(self, name, runs, cells):
        self.name, self.runs, self.cells, self.cell = name, runs, cells, 0
        self.stream = sys.stderr
        self.quiet_seconds = 0 if self.stream.isatty() else 15
        self._first = {}  # run folder -> (step, time) when first seen: the pace is measured from there
        self._shown, self._shown_at = "", -1e9
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._stop.set()
        self._thread.join()
        self._show(last=True)

    def _follow(self):
        while not self._stop.wait(0.5):
            self._show()

    def _show(self, last=False):
        line = self.line()
        if line == self._shown or (time.monotonic() - self._shown_at < self.quiet_seconds and not last):
            return
        if self.stream.isatty():
            print(f"\r\x1b[K{line}", end="\n" if last else "", file=self.stream, flush=True)
        else:
            print(line, file=self.stream, flush=True)
        self._shown, self._shown_at = line, time.monotonic()

    def line(self):
        """E.g. `04_pretrainzero: cell 5 of 9, step 37 of 200, 1 min 20 s left`."""
        parts = [f"cell {self.cell} of {self.cells}" if self.cell else "starting"]
        for folder in self.runs()[-1:]:
            status = folder.status()
            if status.get("steps"):
                parts.append(f"step {status['step']} of {status['steps']}")
                parts += self._time_left(folder, status)
        return f"{self.name}: {', '.join(parts)}"

    def _time_left(self, folder, status):
        step, now = status["step"], time.monotonic()
        step0, then = self._first.setdefault(folder.path, (step, now))
        if status["state"] != "running" or step == step0:
            return []
        return [f"{duration((now - then) / (step - step0) * (status['steps'] - step))} left"]



def duration(seconds):
    """Seconds in words.

    >>> duration(4.2), duration(80), duration(7300)
    ('4 s', '1 min 20 s', '2 h 1 min')
    """
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"


ANNOUNCE = "PZLIB_ANNOUNCE"  # names the file in which a notebook says which run it trains



def announce(run):
    """Called in a notebook once its Run is built, so that the executed copy lands in the run's folder.

    Writes the run id for `run_notebook`; in a notebook that a person runs it does nothing.
    """
    if path := os.environ.get(ANNOUNCE):
        with open(path, "a") as file:
            file.write(run.run_id + "\n")



def announce_failures(words):
    """Called by a grid of runs in a notebook, with a line for each run that failed: the notebook then fails too, but at
    its end, so that what could be made is shown."""
    if path := os.environ.get(ANNOUNCE):
        with open(path, "a") as file:
            file.writelines(f"!{' '.join(line.split())}\n" for line in words)



def announced_in(path):
    """(RunFolders, failures in words) that a notebook has told in the file `path`."""
    lines = path.read_text().splitlines()
    folders = [RunFolder(root() / "data/runs" / line) for line in lines if not line.startswith("!")]
    return folders, [line[1:] for line in lines if line.startswith("!")]



def run_notebook(path, parameters=None, output=None, announced=None):
    """Execute the notebook at `path` with `parameters` ({name: value}); returns the process exit code.

    The executed copy goes to `output`, else into the folder of the run the notebook announces, else to
    data/runs/notebooks. announced: a file that takes the announced run ids and stays, so that others can follow.
    0: every cell ran, no announced run was left unfinished and none of a grid failed. 1: it failed, and one line on
    stderr says where. 130: interrupted. Bad input raises ValueError or FileNotFoundError beforehand.
    """
    import nbformat

    path, defaults = Path(path), read_parameters(path)
    parameters = parameters or {}
    refuse_unknown(parameters, defaults, f"parameter of {path.name}")
    parameters = {name: fitted(name, value, defaults[name]) for name, value in parameters.items()}
    with tempfile.TemporaryDirectory(prefix="pzlib-") as scratch:
        copy, announced = Path(scratch) / path.name, Path(announced or Path(scratch) / "announced")
        announced.write_text("")

        def runs():
            return announced_in(announced)[0]

        cells = len(nbformat.read(path, as_version=4).cells) + bool(parameters)  # papermill adds one for them
        with Progress(path.stem, runs, cells) as progress:
            code, problems = _execute(path, copy, parameters, announced, progress)
        problems += [*filter(None, map(_unfinished, runs())), *announced_in(announced)[1]]
        kept = _keep(copy, output, runs())
    if problems:
        print(f"{path}: {'; '.join(problems)}; executed copy: {kept}", file=sys.stderr)
        return code or 1
    print(f"{path}: done; executed copy: {kept}")
    return 0



def _execute(path, copy, parameters, announced, progress):
    """The exit code, and what went wrong in words: a list of at most one."""
    import papermill
    from nbclient.exceptions import DeadKernelError

    def started(cell, cell_index):
        progress.cell = cell_index + 1

    code = 1
    try:
        with _environment(announced):
            papermill.execute_notebook(
                path, copy, parameters, progress_bar=False, on_cell_start=started, start_timeout=180,
                kernel_name="python3",  # this environment's own, whatever kernel the notebook was saved with
                extra_arguments=["--log-level=50"],  # the kernel's own log: what a cell says is in the copy
            )  # fmt: skip
    except papermill.PapermillExecutionError as error:
        text = " ".join(f"{error.ename}: {error.evalue}".split())
        return code, [f"cell {error.cell_index + 1} (In [{error.exec_count}]) failed: {text[:500]}"]
    except DeadKernelError:
        said = f"cell {progress.cell}: the kernel died (killed, or out of memory)"
    except RuntimeError as error:  # the kernel never answered
        said = " ".join(f"the kernel did not start: {error}".split())
    except KeyboardInterrupt:
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # its abandoned task would print a traceback
        code, said = 130, f"interrupted in cell {progress.cell}"
    else:
        return 0, []
    _mark_failed(copy, max(progress.cell - 1, 0), said)
    return code, [said]



@contextmanager
def _environment(announced):
    """The kernel inherits where to announce runs, and is this environment's own."""
    wanted = {ANNOUNCE: str(announced), "JUPYTER_PREFER_ENV_PATH": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value



def _mark_failed(copy, index, said):
    """papermill calls the cell in which a kernel dies completed, and those after it too: put that right."""
    import nbformat

    notebook = nbformat.read(copy, as_version=4)
    for cell in notebook.cells[index:]:
        cell.metadata.setdefault("papermill", {}).update(status="pending", end_time=None)
    failed = next(cell for cell in notebook.cells[index:] if cell.cell_type == "code")
    failed.metadata.papermill.update(status="failed", exception=True)
    notebook.metadata.setdefault("papermill", {})["exception"] = True
    failed.outputs.append(nbformat.v4.new_output("error", ename="Stopped", evalue=said, traceback=[said]))
    nbformat.write(notebook, copy)



def _unfinished(folder):
    """In words, why an announced run is not complete; None where it is, or where nothing was trained."""
    state, status = folder.state(), folder.status()
    if state in ("complete", "new"):
        return None
    where = f"run {folder.path.name} is {state} at step {status['step']} of {status['steps']}"
    if status["error"]:
        where += f" ({status['error']})"
    return where + ", the same command goes on from its last checkpoint"



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
