"""A real model of 135 million parameters on real text, through all that a run at tier gpu goes through, shortened.
Mechanics and memory; what such a model learns is the study `real_text`."""

import json
import math
import shutil

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from pzlib.evaluation import scores
from pzlib.evaluation.gate import ALL, RULES, gate
from pzlib.evaluation.harness import Protocol
from pzlib.export import export
from pzlib.objectives import METHODS
from pzlib.paths import REPO
from pzlib.prompts import TEMPLATES
from pzlib.run import Run
from pzlib.runs.folder import RunFolder
from pzlib.train import train
from tests.bench.peak import measure, planned

pytestmark = [pytest.mark.slow, pytest.mark.real]
MODEL, LEADS = "data/models/smollm2-135m", "data/corpus/leads.jsonl"
SHORT = {
    "tier": "gpu", "model": MODEL, "corpus": LEADS, "corpus_config": "", "corpus_limit": 8, "min_tokens": 48,
    "max_tokens": 96, "template": "three_shot", "steps": 2, "passages": 1, "group": 2, "max_prompt_tokens": 512,
    "max_completion_tokens": 16, "micro_batch_rows": 2, "dtype": "float32", "eval_every": 0, "keep_every": 0,
}  # fmt: skip
# What a method needs beside. Likelihoods give a model that is hardly ever right something to learn from, where it opens
# a box: in none of its answers within 16 tokens, so that all their rewards are alike; in a third within 32.
OWN = {
    "pretrainzero": {"reward": "avg_logprob"}, "random_span": {"reward": "avg_logprob", "max_completion_tokens": 32},
    "rpt": {"entropy_threshold": 0.0},
    "quiet_star": {"max_tokens": 64, "min_tokens": 32, "max_completion_tokens": 2},
}  # fmt: skip
# Those that have a gradient however wrong the answers are.
MOVES = ("random_span", "sft", "continued_pretraining", "mixed_sft", "rlp", "quiet_star")


@pytest.fixture(scope="module", autouse=True)
def there():
    if not ((REPO / MODEL).is_dir() and (REPO / LEADS).is_file()):
        pytest.skip(f"no {MODEL} or no {LEADS}; `make test-real` makes both")


@pytest.fixture
def problems(tmp_path):
    """A file of ten sums with answers and worked solutions."""
    rows = [
        {"question": f"What is {n} + {n + 2}?", "answer": str(2 * n + 2), "solution": f"\\boxed{{{2 * n + 2}}}"}
        for n in range(10)
    ]
    path = tmp_path / "sums.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def short(objective, problems, **other):
    own = OWN.get(objective, {})
    if objective == "rlvr":
        own = {"corpus": problems, "passages": 2}
    if objective == "mixed_sft":
        own = {"solutions": problems}
    return Run(**SHORT | {"objective": objective} | own | other)


def check(folder, run):
    """What every finished run of two steps must show."""
    metrics, episodes = folder.metrics(), folder.episodes()
    assert folder.state() == "complete" and metrics["step"].tolist() == [1, 2]
    numbers = metrics[["loss", "grad_norm", "rows"]]
    assert numbers.notna().all(axis=None) and numbers.map(math.isfinite).all(axis=None)
    if run.objective in MOVES:
        assert (metrics["grad_norm"] > 0).all() and (metrics["rows_trained"] > 0).all()
    if run.method.supervised:
        return
    assert len(episodes) and episodes["length"].between(1, run.max_completion_tokens).all()
    if run.objective == "rlpt":  # asked zero-shot for its paper's tags, this model never opens one: nothing to learn
        assert (episodes["verdict"] == "no answer").all() and (metrics["predictor/dead_groups"] == 1).all()
    ends = run.method.stop_words(run)
    if ends == [TEMPLATES["three_shot"].end]:
        assert not episodes["completion"].str.contains("\n").any()
        assert not episodes["clipped"].all()  # some answers ended by themselves
        assert episodes["prompt"].str.count("\n(?:Passage|Text|Question): ").eq(4).all()  # three examples and its own


@pytest.mark.parametrize("objective", [method.name for method in METHODS])
def test_two_steps_of_every_objective(objective, problems):
    run = short(objective, problems)
    folder = train(run)
    check(folder, run)
    assert AutoModelForCausalLM.from_pretrained(folder.path / "model").num_parameters() == 134_515_008
    shutil.rmtree(folder.path)  # two gigabytes


def test_a_run_is_scored_exported_and_the_start_of_rlvr(problems, benchmark_files, tmp_path):
    first = short("random_span", problems, name="first")
    folder = train(first)
    shutil.rmtree(folder.path / "checkpoints")
    tasks = ["gsm8k", "math500", "mmlu_pro"]
    protocol = Protocol(limit=2, samples=1, max_tokens=8, backend="own")
    _, table = scores.evaluate("first", tasks, protocol, [str(benchmark_files)], say=lambda line: None)
    assert set(table["task"]) == set(tasks)
    out = export("first", tmp_path / "exported")
    assert AutoTokenizer.from_pretrained(out).eos_token == "<|im_end|>"
    assert f"from `{MODEL}`" in (out / "README.md").read_text()
    then = short("rlvr", problems, model="first", name="then")
    check(train(then), then)
    assert RunFolder(then.folder).params()["model"] == "first"


def test_the_gate_says_that_it_can_hardly_play():
    run = Run(**SHORT | {"objective": "random_span"})
    found = gate(run, passages=2)
    assert found.rules[found.rules["target"] == ALL]["rule"].tolist() == list(RULES)
    assert found.numbers["legal"] <= 0.75 and found.numbers["random_span/pass@1"] <= 0.5
    assert 0 < found.numbers["empty thought"] < 5 and "cannot yet play" in found.verdict


def test_the_planned_peak_is_within_a_quarter_of_the_measured_one(problems):
    run = short("random_span", problems)
    found = measure(run)
    phase, most = planned(run, found)
    print(f"planned {most / 2**20:.0f} MiB ({phase}), measured {found['bytes'] / 2**20:.0f} MiB")
    assert 0.8 < most / found["bytes"] < 1.25
