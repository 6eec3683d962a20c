"""Whether the files that a run was made from are still those: by path, size and time, without reading them.
Leaves out what the hub holds under a name: a complete run is not fetched anew to look."""

import hashlib
import json
from pathlib import Path

from pzlib.folder import write_atomic

FILE = "sources.json"  # in the run's folder


def stamps(run):
    """{"model": ..., "corpus": ...}: 16 hex digits that change with any file of it; None for what is no path."""
    return {"model": _stamp(run.model_source), "corpus": _stamp(run.corpus_source)}


def _stamp(source):
    path = Path(source)
    if not path.exists():
        return None
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    told = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def note(folder, run):
    """Write down, in a run's RunFolder, what it is made from."""
    write_atomic(folder.path / FILE, json.dumps(stamps(run)) + "\n")


def untouched(folder, run):
    """Whether a run's files are as they were noted. Where nothing was noted, or a file is gone, it is taken as so: a
    finished run must open without the text it was made from."""
    path = folder.path / FILE
    if not path.exists():
        return True
    noted = json.loads(path.read_text())
    return all(now is None or now == noted.get(name) for name, now in stamps(run).items())
