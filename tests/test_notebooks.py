"""The notebooks: stored clean, short and strict, and each runs top to bottom headlessly at `smoke`.
Left out: what they look like to a person, which test_browser.py and eyes are for."""

import json

import nbformat
import pytest

from pzlib.headless import read_parameters, run_notebook
from pzlib.paths import REPO
from pzlib.run import Run
from pzlib.runs.folder import RunFolder
from pzlib.train import train

NOTEBOOKS = sorted((REPO / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_stored_clean_and_short(path):
    cells = nbformat.read(path, as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code)
    assert max(len(cell.source.splitlines()) for cell in code) <= 25
    assert [cell.metadata.get("tags") for cell in code].count(["parameters"]) == 1
    parameters = read_parameters(path)
    assert next(iter(parameters)) == "tier" and len(parameters) <= 10
    given = next(cell for cell in code if cell.metadata.get("tags") == ["parameters"])
    assert all("#" in line for line in given.source.splitlines())  # each says what it is


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run_at_smoke(path, home, tmp_path):
    output = tmp_path / path.name
    assert run_notebook(path, {"tier": "smoke"}, output) == 0
    cells = nbformat.read(output, as_version=4).cells
    said = [out for cell in cells if cell.cell_type == "code" for out in cell.outputs]
    noise = ["".join(out.text)[:300] for out in said if out.output_type == "stream" and out.name == "stderr"]
    assert not noise, noise
    if path.stem.startswith(("00", "04")):
        (folder,) = [RunFolder(p) for p in (home / "data/runs").iterdir() if (p / "params.json").exists()]
        assert folder.state() == "complete" and (folder.path / "view.png").stat().st_size > 10_000
        assert any("image/png" in out.get("data", {}) for out in said)


def test_the_first_notebook_plays_a_step_in_which_something_is_learned(home):
    given = read_parameters(NOTEBOOKS[0])
    settings = {name: value for name, (value, _) in given.items() if value is not None}
    rest = settings.pop("settings")
    metrics = train(Run(**settings | rest, steps=1, passages=1)).metrics()
    assert metrics["rows_trained"].item() > 0 and metrics["grad_norm"].item() > 0


@pytest.mark.slow
@pytest.mark.parametrize("tier", ["gpu", "paper"])
@pytest.mark.parametrize("number", ["07", "11"])  # in a kernel of its own; test_toybox.py plays all, in a toy world
def test_a_study_without_rows_says_so_at_the_tiers_of_gpu_boxes(number, tier, home, tmp_path):
    (path,) = [path for path in NOTEBOOKS if path.stem.startswith(number)]
    output = tmp_path / path.name
    assert run_notebook(path, {"tier": tier, "jobs": 0}, output) == 0
    cells = nbformat.read(output, as_version=4).cells
    printed = "".join(str(out.get("text", "")) for cell in cells for out in cell.get("outputs", ()))
    assert "not run yet: `pzlib study" in printed and f"--tier {tier}`" in printed


@pytest.mark.parametrize("path", sorted((REPO / "figures/executed").glob("*.ipynb")), ids=lambda path: path.stem)
def test_an_executed_copy_names_no_path_of_a_machine(path):
    about = json.loads(path.read_text())["metadata"]["papermill"]
    assert about["input_path"] == f"notebooks/{path.name}" and "/" not in about["output_path"]
    assert str(REPO) not in path.read_text()
