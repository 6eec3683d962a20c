"""Paths as a person reads them: from the working folder on, in what a command prints last."""

from pathlib import Path

import nbformat

from pzlib.__main__ import main
from pzlib.paths import relative

RUN = """from pzlib.headless import announce
from pzlib.run import Run
from pzlib.runs.folder import RunFolder
run = Run(tier="smoke", name="mine")
announce(run)
folder = RunFolder(run.folder).open(run)
(folder.path / "view.png").touch()
folder.set_status("complete", step=12)"""


def test_a_path_below_the_working_folder_is_named_from_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert relative(tmp_path / "data/runs") == relative("data/runs") == Path("data/runs")
    assert relative("/elsewhere/data") == Path("/elsewhere/data")


def test_a_command_prints_no_path_of_the_machine_where_all_is_below_the_working_folder(home, monkeypatch, capsys):
    head = nbformat.v4.new_code_cell("seed = 0", metadata={"tags": ["parameters"]})
    notebook = nbformat.v4.new_notebook(cells=[head, nbformat.v4.new_code_cell(RUN)])
    nbformat.write(notebook, home / "study.ipynb")
    monkeypatch.chdir(home)
    assert main(["run", str(home / "study.ipynb")]) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[:3] == [
        "study.ipynb: done; executed copy: data/runs/mine/study.ipynb",
        "run: data/runs/mine",
        "picture: data/runs/mine/view.png",
    ]
    assert str(home) not in said
