"""Reported faults that are scripts, notebooks and spans, as reported; the others are read beside their modules."""

import json
import os
import random
import subprocess
import sys

import pytest

from pzlib.headless import run_notebook
from pzlib.masking import random_span
from pzlib.paths import REPO
from pzlib.prompts import parse_boxed
from pzlib.rewards import predictor_reward


def test_spans(cases):
    for row in map(json.loads, (cases / "spans.jsonl").read_text(encoding="utf-8").splitlines()):
        text, rng = row["text"], random.Random(0)
        spans = {random_span(text, rng, 3) for _ in range(500)} - {None}
        if "boxed" in row["expect"]:
            assert all(predictor_reward(parse_boxed(f"\\boxed{{{span}}}"), span) == 1.0 for span in spans) and spans
        else:
            assert all(len(span) <= len(text) / 2 for span in spans) and spans


@pytest.mark.slow
@pytest.mark.parametrize("name", ["annotated_parameters", "no_kernelspec"])
def test_notebooks_of_other_tools(cases, tmp_path, name, capsys):
    assert run_notebook(cases / f"{name}.ipynb", {"num": 7}, tmp_path / "copy.ipynb") == 0
    printed = json.loads((tmp_path / "copy.ipynb").read_text())["cells"][-1]["outputs"]
    assert printed[0]["text"] in ("7\n", ["7\n"])


@pytest.mark.slow
@pytest.mark.parametrize("script", ["batch_twice", "long_tmpdir"])
def test_scripts(cases, tmp_path, script):
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    env = {**os.environ, "PYTHONPATH": str(REPO), "PATH": path, "PZLIB_HOME": str(tmp_path)}
    command = ["sh", str(cases / f"{script}.sh"), str(cases / "annotated_parameters.ipynb"), str(tmp_path / "out")]
    printed = subprocess.run(command, env=env, capture_output=True, text=True, cwd=tmp_path, timeout=300).stdout
    if script == "long_tmpdir":
        assert "rc=0" in printed, printed
    else:
        assert printed.count('"state"') == 2 and "failed" not in printed, printed
