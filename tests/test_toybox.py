"""Every notebook top to bottom at the tiers of GPU boxes, on a CPU: their world replaced by a toy one (`toybox.py`).
Left out: GPUs, vLLM, the hub, and a kernel a notebook, which test_notebooks.py starts."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pzlib.paths import REPO

NOTEBOOKS = sorted(path.stem for path in (REPO / "notebooks").glob("*.ipynb"))
STUDIES = [name for name in NOTEBOOKS if name[:2] in ("03", "05", "06", "07", "08", "09", "10", "11")]
DRAWN = [name for name in NOTEBOOKS if name[:2] in ("03", "05", "06")]  # they need nothing but rows of studies
LEFT_OUT = re.compile(r"^(\w+: .* left out at \w+: .*|\w+ of \w+ is not drawn: .*)$", re.MULTILINE)


def line(state, one):
    """"works", with what was left out, or what went wrong."""
    if one["why"]:
        return f"FAILS: {one['why']}"
    left = list(dict.fromkeys(LEFT_OUT.findall(one["said"])))
    return f"works, {state}" + "".join(f"; {words}" for words in left)


@pytest.mark.slow
@pytest.mark.parametrize("tier", ["gpu", "paper"])
def test_every_notebook_works_with_and_without_rows(tier, tmp_path):
    command = [sys.executable, "-m", "tests.toybox", tier, str(tmp_path)]
    around = os.environ | {"PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}
    child = subprocess.run(command, cwd=REPO, env=around, capture_output=True, text=True)
    assert child.returncode == 0, child.stderr[-3000:]
    found = json.loads((tmp_path / "found.json").read_text())
    table = [(name, line(state, one)) for state, own in found.items() for name, one in own.items()]
    print(f"\n| notebook | at {tier} |\n| --- | --- |")
    for name, words in sorted(table):
        print(f"| {name} | {words} |")
    first, second = found.values()
    assert sorted(first) == NOTEBOOKS and set(STUDIES) <= set(second)
    assert [row for row in sorted(table) if row[1].startswith("FAILS")] == []
    if tier == "paper":
        silent = [name for name in STUDIES if f"--tier {tier}`" not in first[name]["said"]]
        assert silent == [], "without rows a notebook says which command makes them"
        assert [name for name in DRAWN if "not run yet: `pzlib study" in second[name]["said"]] == []
    else:
        runs = [json.loads(path.read_text()) for path in Path(tmp_path).glob("home/data/runs/*/params.json")]
        assert len({run["objective"] for run in runs}) >= 10, "every method of a study has played"
