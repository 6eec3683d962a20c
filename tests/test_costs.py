"""docs/gpu.md: what the papers' main runs cost, as `plan` works it out, and that each of them fits."""

import re
import shlex

import pytest

from pzlib.commands import run_of, shared_by
from pzlib.engine.memory import GiB, memory, peak
from pzlib.engine.plan import estimated, misfits, plan
from pzlib.paths import REPO
from pzlib.studies import runs_of

PAGE = (REPO / "docs/gpu.md").read_text()
ROWS = re.findall(r"^\| (.*) \| `pzlib plan (.*)` \| (.*) \| (.*) \| (.*) \|$", PAGE, re.MULTILINE)


def planned(words):
    """The Plan of a command's words."""
    options, pairs, words = {}, [], shlex.split(words)
    while words:
        if words[0] == "-p":
            pairs.append((words[1], words[2]))
            words = words[3:]
        else:
            options[words[0].removeprefix("--")] = words[1]
            words = words[2:]
    return plan(run_of(pairs, **options))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_the_costs_of_the_papers_runs_are_those_of_plan(row):
    made = planned(row[1])
    hours = [made.run.steps * work.seconds / 3600 for work in (made.work(made.prompt, made.completion), made.work())]
    most = peak(memory(made.run, made.arch, made.device))[1] / GiB
    each = [" to ".join(f"{one * times:,.0f}" for one in hours) for times in (1, made.run.processes)]
    assert row[2:] == (*each, f"{most:.0f}")
    assert misfits(made.run, made.arch, made.device) == [] and made.run.processes == 8


def test_the_study_that_the_page_starts_on_eight_gpus_fits():
    lines = re.findall(r"^pzlib (study .*--tier paper.*)", PAGE, re.MULTILINE)
    assert lines
    for line in lines:
        command, pairs = shlex.split(line, comments=True), re.findall(r"-p (\S+) (\S+)", line)
        runs = runs_of([command[1]], "paper", [0], shared_by(pairs))
        assert "as they are" not in estimated(runs)[1], line


def test_every_papers_main_run_has_a_row():
    found = {planned(words).run.objective for _, words, *_ in ROWS}
    assert found == {"pretrainzero", "rlvr", "rpt", "rlp", "rlpt"}
