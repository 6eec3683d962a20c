"""The pinned set, resolved for every Python: `python -m tests.bench.resolve` asks the package index for metadata only,
so it fetches and installs no package. `--write` also writes requirements/cpu.txt and requirements/gpu.txt."""

import argparse
import re
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent.parent
PYTHONS = ("3.11.7", "3.12", "3.13", "3.14")
PLATFORM = "x86_64-manylinux_2_31"  # glibc 2.31, which one of vLLM's libraries wants; the CPU set needs 2.28
# The extras of each lock; `dev` stays out of the GPUs' one.
LOCKS = {"cpu": ("dev", "docs", "eval"), "gpu": ("eval", "vllm", "zero")}
# Pure Python without any wheel on the index. All else must have one for the Python in question.
WITHOUT_WHEELS = ("sqlitedict", "word2number", "rouge-score", "deepspeed")
# Has wheels up to Python 3.13; above, pip compiles it.
COMPILED = {"3.14": ("mwparserfromhell",)}
HEADS = {
    "cpu": """\
# Exact versions of everything, as installed on CPUs under Python 3.11 and tested: tests, benchmarks and notebooks.
# Use: PIP_CONSTRAINT=requirements/cpu.txt make demo    (with uv: UV_CONSTRAINT=...). Needs Python 3.11.5 or newer.
# Resolved, and not run, for Python 3.12 to 3.14. Where torch comes with CUDA, its own libraries are pinned by torch.
""",
    "gpu": """\
# Exact versions of everything for GPUs: notebooks, benchmarks and vLLM. Not run.
# Resolved for Linux x86_64 with glibc 2.31 or newer, Python 3.11 to 3.14.
# Use: PIP_CONSTRAINT=requirements/gpu.txt requirements/install.sh eval,vllm,zero    (with uv: UV_CONSTRAINT=...)
# torch is the index's CUDA 13.0 build. CUDA 13 needs an NVIDIA driver of series 580 or newer.
""",
}


def normal(name):
    """A package's name as the index compares it.

    >>> normal("Ruamel_YAML.clib")
    'ruamel-yaml-clib'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(text):
    """{name: version} of lines such as `torch==2.13.0`; comments are skipped."""
    found = re.findall(r"^([\w.-]+)==([^\s;+]+)", text, re.MULTILINE)
    return {normal(name): version for name, version in found}


def locked(name):
    """The pins of requirements/NAME.txt."""
    return pins((REPO / f"requirements/{name}.txt").read_text())


def lines(versions):
    """The text of a lock: a sorted line for each package."""
    return "".join(sorted(f"{name}=={version}\n" for name, version in versions.items()))


def resolve(python, extras, constraints=None, preferred=None):
    """{name: version} of pyproject.toml with these extras, for that Python on Linux.

    constraints: versions that must be kept, {name: version}; preferred: versions that are kept where they can be.
    Raises ValueError with uv's words where there is no solution, or no wheel.
    """
    source = [*WITHOUT_WHEELS, *COMPILED.get(python, ())]
    command = [sys.executable, "-m", "uv", "pip", "compile", "pyproject.toml", "--quiet"]
    command += ["--no-header", "--no-annotate"]
    command += ["--python-version", python, "--python-platform", PLATFORM, "--only-binary", ":all:"]
    command += [part for name in source for part in ("--no-binary", name)]
    command += [part for name in extras for part in ("--extra", name)]
    with tempfile.TemporaryDirectory() as folder:
        kept, output = Path(folder) / "constraints.txt", Path(folder) / "output.txt"
        kept.write_text(lines(constraints or {}))
        output.write_text(lines(preferred or {}))  # uv prefers what is in its output file already
        command += ["--constraints", str(kept), "--output-file", str(output)]
        done = subprocess.run(command, cwd=REPO, capture_output=True, text=True)
        if done.returncode:
            raise ValueError(f"Python {python}: {done.stderr.strip()}")
        return pins(output.read_text())


def cpu_lock():
    """What is installed here of the pinned set and what it needs; without CUDA's libraries where torch has none."""
    here = {normal(dist.name): dist.version.split("+")[0] for dist in metadata.distributions()}
    found = resolve(PYTHONS[0], LOCKS["cpu"], here)
    return {name: version for name, version in found.items() if name in here}


def gpu_lock(cpu):
    """Versions that hold for each of PYTHONS, those of the CPUs' lock where they can be."""
    found = {}
    for python in reversed(PYTHONS):
        found |= resolve(python, LOCKS["gpu"], preferred=cpu | found)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--write", action="store_true", help="write the two locks first")
    if parser.parse_args().write:
        cpu = cpu_lock()
        for name, found in {"cpu": cpu, "gpu": gpu_lock(cpu)}.items():
            (REPO / f"requirements/{name}.txt").write_text(HEADS[name] + lines(found))
    for name, extras in LOCKS.items():
        for python in PYTHONS:
            found = resolve(python, extras, locked(name))
            print(f"{name}, Python {python}: {len(found)} packages")


if __name__ == "__main__":
    main()
