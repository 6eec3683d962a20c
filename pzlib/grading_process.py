"""A grading worker seen from outside: starting it, sending it a pair, hearing its word or that it is late, ending it.
Leaves out what it does (`grading_worker`) and who gets which pair (`grading`)."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import time
from pathlib import Path

STARTUP = 120  # seconds; a worker imports sympy, on a machine whose cores may be taken


class Worker:
    """One process of `pzlib.grading_worker`: starting, free, or until it is due at work on a pair."""

    def __init__(self, seconds: float):
        # A module of its own and no fork: this process may hold torch, threads and a notebook's sockets. In a session
        # of its own, for an interrupt is meant for us alone.
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pzlib.grading_worker", str(seconds)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            cwd=Path(__file__).resolve().parent.parent, start_new_session=True,
        )  # fmt: skip
        self.ready, self.pair, self.due = False, None, time.monotonic() + STARTUP
        self.heard = b""

    @property
    def free(self) -> bool:
        return self.ready and self.pair is None

    def take(self, pair: tuple, seconds: float) -> bool:
        """Sends a pair to judge; False if the process is gone."""
        line = json.dumps({"golds": pair[0], "prediction": pair[1]}) + "\n"
        self.pair, self.due = pair, time.monotonic() + seconds
        try:
            self.process.stdin.write(line.encode())
            self.process.stdin.flush()
        except BrokenPipeError:
            return False
        return True

    def hear(self) -> str | None:
        """What the process says, None while the line is not whole, "crashed" if it is gone."""
        chunk = os.read(self.process.stdout.fileno(), 4096)
        self.heard += chunk
        if not chunk:
            return "crashed"
        if not self.heard.endswith(b"\n"):
            return None
        word, self.heard = json.loads(self.heard), b""
        return word

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdout, self.process.stdin):
            try:
                pipe.close()
            except BrokenPipeError:  # what it was never sent
                pass


def listen(staff: list[Worker]) -> list[tuple[Worker, str]]:
    """Waits until a worker that is not free has said a word or is late: (worker, word), "timeout" for the late."""
    busy = [worker for worker in staff if not worker.free]
    with selectors.DefaultSelector() as selector:
        for worker in busy:
            selector.register(worker.process.stdout, selectors.EVENT_READ, worker)
        due = min(worker.due for worker in busy)
        spoke = [key.data for key, _ in selector.select(max(0.0, due - time.monotonic()))]
    words = [(worker, worker.hear()) for worker in spoke]
    late = [worker for worker in busy if worker not in spoke and worker.due <= time.monotonic()]
    return [(worker, word) for worker, word in words if word] + [(worker, "timeout") for worker in late]
