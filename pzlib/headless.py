"""Run a notebook without a browser: strict about its parameters, true in its exit code.
Leaves out what papermill does well: injecting the parameters and executing the cells."""

import logging
import os
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

from pzlib import run as settings
from pzlib.folder import RunFolder, write_atomic
from pzlib.parameters import fitted, read_parameters
from pzlib.progress import Progress
from pzlib.refusals import refuse_unknown

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
    folders = [RunFolder(settings.ROOT / "data/runs" / line) for line in lines if not line.startswith("!")]
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

    folder = next((f.path for f in folders if f.path.is_dir()), settings.ROOT / "data/runs/notebooks")
    kept = Path(output) if output else folder / copy.name
    kept.parent.mkdir(parents=True, exist_ok=True)
    notebook = nbformat.read(copy, as_version=4)
    notebook.metadata.get("papermill", {})["output_path"] = kept.name  # not the scratch folder it was executed in
    write_atomic(kept, nbformat.writes(notebook) + "\n")
    return kept
