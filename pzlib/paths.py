"""Where things are: what is shipped, what a run writes, the path that a name given by a user means; digests of them."""

import hashlib
import json
import os
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent  # what is shipped: data/tinybase_a, notebooks
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"  # of a run's folder


def root():
    """Where runs, results and figures are written: the folder that PZLIB_HOME names, else the repository."""
    return Path(os.environ.get("PZLIB_HOME") or REPO).resolve()


def locate(name):
    """An existing path as an absolute string, looked for under `root()`, the repository, the working directory.

    A notebook's working directory depends on who started it, so it comes last; a name that is not a path there
    (a hub name, a corpus of ours) comes back unchanged.
    """
    for base in (root(), REPO, Path.cwd()):
        if (base / name).exists():
            return str((base / name).resolve())
    return name


def relative(path):
    """A path as a person reads it: from the working folder on where it is below that, else as it is."""
    path = Path(path)
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def sha256(path):
    """The SHA-256 of a file's bytes, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def stamp(source):
    """16 hex digits that change with the name, size or time of any file of `source`; None where that is not a path."""
    path = Path(source)
    if not path.exists():
        return None
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    told = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]
