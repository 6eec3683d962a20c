"""One line on the terminal that follows a notebook and the run it trains, by the run's status file.
Leaves out everything that needs the kernel: a run can be followed from any process."""

import sys
import threading
import time


class Progress:
    """While entered, says which cell runs and how far training is: in place on a terminal, else now and then.

    name: what to call it; runs(): the RunFolders announced so far; cells: how many there are.
    Set `.cell` (from 1) as cells start.
    """

    def __init__(self, name, runs, cells):
        self.name, self.runs, self.cells, self.cell = name, runs, cells, 0
        self.stream = sys.stderr
        self.quiet_seconds = 0 if self.stream.isatty() else 15
        self._first = {}  # run folder -> (step, time) when first seen: the pace is measured from there
        self._shown, self._shown_at = "", -1e9
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._stop.set()
        self._thread.join()
        self._show(last=True)

    def _follow(self):
        while not self._stop.wait(0.5):
            self._show()

    def _show(self, last=False):
        line = self.line()
        if line == self._shown or (time.monotonic() - self._shown_at < self.quiet_seconds and not last):
            return
        if self.stream.isatty():
            print(f"\r\x1b[K{line}", end="\n" if last else "", file=self.stream, flush=True)
        else:
            print(line, file=self.stream, flush=True)
        self._shown, self._shown_at = line, time.monotonic()

    def line(self):
        """E.g. `04_pretrainzero: cell 5 of 9, step 37 of 200, 1 min 20 s left`."""
        parts = [f"cell {self.cell} of {self.cells}" if self.cell else "starting"]
        for folder in self.runs()[-1:]:
            status = folder.status()
            if status.get("steps"):
                parts.append(f"step {status['step']} of {status['steps']}")
                parts += self._time_left(folder, status)
        return f"{self.name}: {', '.join(parts)}"

    def _time_left(self, folder, status):
        step, now = status["step"], time.monotonic()
        step0, then = self._first.setdefault(folder.path, (step, now))
        if status["state"] != "running" or step == step0:
            return []
        return [f"{duration((now - then) / (step - step0) * (status['steps'] - step))} left"]


def duration(seconds):
    """Seconds in words.

    >>> duration(4.2), duration(80), duration(7300)
    ('4 s', '1 min 20 s', '2 h 1 min')
    """
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"
