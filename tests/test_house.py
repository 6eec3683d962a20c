"""The house keeps its shape: short files, small folders, a core read in one sitting, methods in their own files."""

import re
import subprocess
import sys

import pytest

from pzlib.objectives import METHODS
from pzlib.paths import REPO

FILES = sorted((REPO / "pzlib").rglob("*.py"))
CORE = ("train", "game", "masking", "prompts", "rewards", "objectives/pretrainzero")


def lines(path):
    return path.read_text(encoding="utf-8").count("\n")


def test_no_file_is_long_and_no_folder_is_full():
    assert [str(path) for path in FILES if lines(path) > 400] == []
    folders = {path.parent for path in FILES} - {REPO / "pzlib"}
    assert {folder.name: len([*folder.glob("*.py")]) for folder in folders if len([*folder.glob("*.py")]) > 12} == {}


def test_the_core_is_read_in_one_sitting():
    assert sum(lines(REPO / f"pzlib/{name}.py") for name in CORE) <= 1000


def test_nobody_asks_which_method_a_run_has_but_run_and_the_methods():
    asks = re.compile(r"\.objective (==|!=|in|not in) |objective (==|!=) \"")
    own = [path for path in FILES if "objectives" not in path.parts and path.name != "run.py"]
    assert [str(path) for path in own if asks.search(path.read_text(encoding="utf-8"))] == []


def test_the_facts_of_every_method_load_without_torch():
    heavy = "{'torch', 'transformers', 'trl', 'datasets', 'pandas'} & {*sys.modules}"
    code = f"import sys; from pzlib.run import Run; Run(tier='paper', objective='rlp').rows_per_step; print({heavy})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_a_methods_name_is_told_apart_in_its_own_file_alone(method):
    """Studies and figures may list methods by name; the core, the engine and the evaluation may not."""
    free = ("objectives", "studies", "figures")
    own = [p for p in FILES if not set(free) & set(p.parts) and p.name not in ("run.py", "__main__.py")]
    found = [
        str(p) for p in own if re.search(rf'== "{method.name}"|"{method.name}" in|in \("{method.name}"', p.read_text())
    ]
    assert found == []
