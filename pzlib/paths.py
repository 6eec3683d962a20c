"""Where things are: what the repository ships, what a run writes, and the path that a name given by a user stands for."""

import os
import re
from pathlib import Path

from pzlib.errors import near_names

REPO = Path(__file__).resolve().parent.parent  # what is shipped: data/tinybase, notebooks
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"  # of a run's folder


def root():
    """Where runs, results and figures are written: the folder that PZLIB_HOME names, else the repository."""
    return Path(os.environ.get("PZLIB_HOME") or REPO).resolve()


def misspelt(name):
    """Why `name`, which is no path, can be no hub name either: words with a remedy; None where it may be one.

    Asked before the hub is, which takes its time to say no.

    >>> misspelt("data/tinybse"), misspelt("Qwen/Qwen3-4B-Base")
    ('there is no data/tinybse; did you mean tinybase or tinybase_small?', None)
    """
    run_id = name.partition("@")[0]
    if re.fullmatch(r".+-(smoke|mini|gpu|paper)-s\d+(-\w+)?", run_id) and not (root() / "data/runs" / run_id).is_dir():
        return "no run of that name is in data/runs"
    head, _, tail = name.rpartition("/")
    inside = [base / head for base in (root(), REPO) if head and (base / head).is_dir()]
    if inside:
        return f"there is no {name}; {near_names(tail, sorted(path.name for path in inside[-1].iterdir()))}"
    return None


def locate(name):
    """An existing path as an absolute string, looked for under `root()`, the repository, the working directory.

    A notebook's working directory depends on who started it, so it comes last; a name that is no path there
    (a hub name, a corpus of ours) comes back unchanged.
    """
    for base in (root(), REPO, Path.cwd()):
        if (base / name).exists():
            return str((base / name).resolve())
    return name
