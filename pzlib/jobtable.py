"""What a batch shows of its jobs: how many are in which state, one line each, and how long the rest may take.
Leaves out where the facts come from (pzlib.batch) and the terminal."""

from collections import Counter
from dataclasses import dataclass

from pzlib.progress import duration

STATES = ("done", "skipped", "failed", "running", "queued")  # skipped: done by an earlier batch


@dataclass
class Row:
    """One job as a reader sees it. seconds: since it began, or all that it took; step of steps: of its run's training,
    which this start found at step `begun`; tries: how often it was started; said: why it failed."""

    name: str
    state: str = "queued"
    seconds: float | None = None
    step: int | None = None
    steps: int | None = None
    begun: int = 0
    where: str = ""
    tries: int = 0
    said: str = ""

    @property
    def ended(self):
        return self.state in ("done", "skipped", "failed")


def counts(rows):
    """How many there are, and in each state that occurs.

    >>> counts([Row("a", "done"), Row("b"), Row("c")])
    '3 jobs: 1 done, 2 queued'
    """
    found = Counter(row.state for row in rows)
    told = ", ".join(f"{found[state]} {state}" for state in STATES if found[state])
    return f"{len(rows)} job{'s' * (len(rows) != 1)}: {told}"


def seconds_left(rows):
    """Seconds until all have ended, as many at a time as run now; None where nothing tells how long a job takes.

    A job takes as long as those done took in the mean; before the first is done, what the training steps of the
    running ones promise.

    >>> seconds_left([Row("a", "done", 60), Row("b", "running", 20), Row("c", "running", 50), Row("d")])
    55.0
    >>> seconds_left([Row("a", "running", 30, step=10, steps=40), Row("b")])
    210.0
    """
    running = [row for row in rows if row.state == "running"]
    queued = sum(row.state == "queued" for row in rows)
    took = [row.seconds for row in rows if row.state == "done" and row.seconds]
    paced = [row for row in running if row.seconds and (row.step or 0) > row.begun]
    took = took or [row.seconds * row.steps / (row.step - row.begun) for row in paced]
    if not took:
        return None
    whole = sum(took) / len(took)
    left = queued * whole + sum(max(whole - (row.seconds or 0), 0) for row in running)
    return left / max(len(running), 1)


def headline(rows):
    """E.g. `16 jobs: 9 done, 2 running, 5 queued, about 3 min 0 s left`."""
    left = None if all(row.ended for row in rows) else seconds_left(rows)
    rest = f", about {duration(left)} left" if left is not None else ""
    return f"{counts(rows)}{rest}"


def line(row):
    """E.g. `seed=3: running on gpu-2, step 7 of 12, 35 s, start 2`.

    >>> line(Row("seed=3", "failed", 4, tries=1, said="cell 2 failed"))
    'seed=3: failed after 4 s: cell 2 failed'
    """
    parts = [row.state]
    if row.state == "running":
        parts[0] += f" on {row.where}" if row.where else ""
        parts += [f"step {row.step} of {row.steps}"] if row.steps else []
        parts += [duration(row.seconds)] if row.seconds is not None else []
    elif row.ended and row.seconds is not None:
        parts[0] += f" after {duration(row.seconds)}" if row.state == "failed" else f" in {duration(row.seconds)}"
    if row.tries > 1:
        parts.append(f"start {row.tries}")
    said = f": {row.said}" if row.said else ""
    return f"{row.name}: {', '.join(parts)}{said}"


def table(rows, height):
    """The headline and at most `height` lines below it: what runs and what failed first, then what waits.

    >>> print("\\n".join(table([Row("a", "done", 9), Row("b", "running", 3), Row("c"), Row("d")], 2)))
    4 jobs: 1 done, 1 running, 2 queued, about 24 s left
    b: running, 3 s
    c: queued
    (2 more)
    """
    order = ("running", "failed", "queued", "done", "skipped")
    shown = sorted(rows, key=lambda row: order.index(row.state))
    more = [f"({len(shown) - height} more)"] if len(shown) > height else []
    return [headline(rows), *map(line, shown[:height]), *more]
