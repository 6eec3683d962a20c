"""`requirements/install.sh` with stand-ins for Python and uv, which write down what they are asked."""

import shutil
import subprocess
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent
# A stand-in for an interpreter: its version fits or not, it has a torch or none, and a venv is two files.
PYTHON = """#!/bin/sh
case "$*" in
    *version_info*) exit {unfit} ;;
    *importlib.metadata*) [ "{torch}" = 1 ]; exit ;;
esac
echo "$(basename "$0") $*" >>"$CALLS"
case "$*" in
    *broken*) exit 3 ;;
    *"-m venv"*)
        mkdir -p .venv/bin && cp "$0" .venv/bin/python
        case "$*" in *system-site*) echo "include-system-site-packages = true" ;; esac >.venv/pyvenv.cfg ;;
esac
"""
UV = """#!/bin/sh
echo "uv $*" >>"$CALLS"
for venv; do :; done  # the last argument
case "$1" in venv) mkdir -p $venv/bin && touch $venv/bin/python $venv/pyvenv.cfg && chmod +x $venv/bin/python ;; esac
"""


@pytest.fixture
def machine(tmp_path):
    """A checkout and a folder of programs; `machine(pythons, uv, **environment)` returns (exit code, calls, output)."""
    (tmp_path / "checkout/requirements").mkdir(parents=True)
    shutil.copy(REPO / "pyproject.toml", tmp_path / "checkout")
    shutil.copy(REPO / "requirements/install.sh", tmp_path / "checkout/requirements")
    (tmp_path / "bin").mkdir()
    for tool in "sh sed df awk grep dirname basename mkdir cp touch chmod".split():
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool))

    def install(pythons=(), uv=False, arguments=(), **environment):
        programs = {name: PYTHON.format(unfit=unfit, torch=torch) for name, unfit, torch in pythons}
        for name, text in (programs | ({"uv": UV} if uv else {})).items():
            path = tmp_path / "bin" / name
            path.write_text(text)
            path.chmod(0o755)
        calls = tmp_path / "calls"
        calls.write_text("")
        env = {"PATH": str(tmp_path / "bin"), "CALLS": str(calls)} | environment
        done = subprocess.run(
            [tmp_path / "checkout/requirements/install.sh", *arguments], env=env, capture_output=True, text=True
        )
        return done.returncode, calls.read_text().splitlines(), done.stdout + done.stderr

    return install


def test_pip_without_uv_by_the_first_python_that_fits(machine):
    pythons = [("python3.11", 1, 0), ("python3.12", 0, 0), ("python3.13", 0, 0)]
    code, calls, output = machine(pythons, arguments=["dev,eval"])
    assert code == 0 and calls == ["python3.12 -m venv .venv", "python -m pip install --quiet -e .[dev,eval]"]
    assert "by pip: 2.5 GB, or 7 GB" in output and "GB are free" in output


def test_uv_where_it_is_installed_brings_the_python_that_is_tested(machine):
    code, calls, output = machine(uv=True)
    assert code == 0 and calls == [
        "uv venv --quiet --seed --python 3.11 .venv",
        "uv pip install --quiet --python .venv/bin/python -e .",
    ]
    assert "by uv" in output


def test_a_python_that_is_named_is_taken(machine):
    _, calls, _ = machine([("python3.11", 0, 0), ("python3.13", 0, 0)], PYTHON="python3.13")
    assert calls[0] == "python3.13 -m venv .venv"
    _, calls, _ = machine(uv=True, PYTHON="3.14")
    assert calls == ["uv pip install --quiet --python .venv/bin/python -e ."]  # .venv is there, and stays


def test_another_folder_than_venv(machine):
    _, calls, output = machine(uv=True, arguments=["dev", ".venv-vllm"])
    assert calls[0].endswith(" .venv-vllm") and "Installing into .venv-vllm" in output
    assert calls[1] == "uv pip install --quiet --python .venv-vllm/bin/python -e .[dev]"


def test_an_empty_uv_means_pip(machine):
    _, calls, _ = machine([("python3.11", 0, 0)], uv=True, UV="")
    assert [call.split()[0] for call in calls] == ["python3.11", "python"]


@pytest.mark.parametrize("uv", [False, True])
def test_a_torch_that_fits_is_kept(machine, uv):
    code, calls, output = machine([("python3.11", 0, 1)], uv=uv)
    assert code == 0 and "of python3.11 is kept" in output
    assert calls == ["python3.11 -m venv --system-site-packages .venv", "python -m pip install --quiet -e ."]


def test_a_torch_that_is_named_comes_first(machine):
    wanted = "torch==2.13.0 --index-url file:///wheels"
    _, calls, _ = machine([("python3.11", 0, 1)], TORCH=wanted)
    assert calls == [
        "python3.11 -m venv .venv", f"python -m pip install --quiet {wanted}", "python -m pip install --quiet -e ."
    ]  # fmt: skip


def test_without_a_python_that_fits_it_says_which_ones_do(machine):
    code, calls, output = machine([("python3.11", 1, 0), ("python3", 1, 0)])
    assert code == 1 and not calls and output.startswith("Python 3.11 to 3.14 is needed. Install uv")


def test_a_step_that_fails_fails_make(machine):
    """Without it, the Makefile would write the stamp of an environment that is not whole."""
    code, calls, _ = machine([("python3.11", 0, 0)], TORCH="broken")
    assert code == 3 and calls[-1] == "python -m pip install --quiet broken"


def test_what_opens_every_notebook_installs_what_the_notebooks_need():
    """`make mini` in a clone where nothing else had been run stopped at notebook 13."""
    rules = (REPO / "Makefile").read_text()
    for target in ("lab", "mini", "mini-all"):
        assert f"\n{target}: .venv/installed-eval " in rules
    assert "\n.venv/installed-eval: pyproject.toml\n\t@requirements/install.sh eval\n" in rules
