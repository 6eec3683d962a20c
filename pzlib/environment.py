"""What a run runs on: versions, processor, GPU and commit, for the run folder's env.json.
Leaves out what changes no result: user, host name, paths, environment variables."""

import os
import platform
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

from pzlib.run import REPO

PACKAGES = ("torch", "trl", "transformers", "accelerate", "datasets", "peft", "numpy", "pandas", "vllm")


def environment():
    """What a run runs on: versions, machine and commit, as plain JSON values."""
    installed = {name: _version(name) for name in PACKAGES}
    torch = sys.modules.get("torch")  # asked only where it is loaded anyway: a reader of runs needs none
    return {
        "python": platform.python_version(),
        "packages": {name: version for name, version in installed.items() if version},
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads() if torch else None,
        "gpu": torch.cuda.get_device_name() if torch and torch.cuda.is_available() else None,
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes": bool(_git("status", "--porcelain")),
    }


def _version(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _cpu():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return platform.processor()
    names = [line.split(": ", 1)[1] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


@cache  # asking takes a tenth of a second; what counts is the code as loaded
def _git(*command):
    try:
        done = subprocess.run(["git", "-C", str(REPO), *command], capture_output=True, text=True)
    except FileNotFoundError:  # no git on this machine
        return None
    return done.stdout.strip() or None
