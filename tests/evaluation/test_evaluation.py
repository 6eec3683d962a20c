"""What a run is asked along training goes by a name, and reads nothing that a run reads."""

import subprocess
import sys

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from pzlib.corpus import load_passages
from pzlib.evaluation import EVALUATIONS, evaluation_of, named, next_tokens, small_world
from pzlib.objectives import METHODS
from pzlib.paths import REPO
from pzlib.run import Run


@pytest.fixture(scope="module")
def base():
    folder = REPO / "data/tinybase"
    return AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


def test_every_method_has_an_evaluation_that_knows_its_own_name():
    assert {method.evaluation for method in METHODS} | {"held_out"} == set(EVALUATIONS)
    run = Run(tier="smoke", eval_items=2)
    assert {name: named(name, run).name for name in EVALUATIONS} == {name: name for name in EVALUATIONS}
    assert small_world.small_world(2).name == evaluation_of(run).name == "small_world"
    assert evaluation_of(Run(tier="smoke", objective="rpt", eval_items=2)).name == "next_tokens"
    assert evaluation_of(Run(tier="paper", objective="rpt")) is None


def test_only_rpt_is_asked_for_next_tokens_and_the_rest_is_as_before(base, monkeypatch):
    monkeypatch.setattr(small_world, "spans", lambda *_, **__: [("sum", "Rome is [mask]", "old")])
    both = evaluation_of(Run(tier="smoke", objective="rpt", eval_items=2))(*base, 0)
    common = evaluation_of(Run(tier="smoke", eval_items=2))(*base, 0)
    assert both[: len(common)] == common == small_world.small_world(2)(*base, 0)
    assert {row["group"] for row in both[len(common) :]} == {next_tokens.REASONING, next_tokens.DIRECT}
    assert len({row["task"] for row in both}) == len(both)  # a task has one row a step


@pytest.mark.parametrize("corpus", ["tinywiki", "tinywiki_clean"])
def test_no_text_that_is_asked_about_is_in_what_any_run_reads(corpus, monkeypatch):
    """Neither one that is masked nor one that is cut before a token, for any seed that a study runs."""
    masked, cut = [], []
    monkeypatch.setattr(small_world, "spans", lambda passages, *_, **__: masked.extend(passages) or [])
    monkeypatch.setattr(next_tokens, "next_tokens", lambda scorer, tokenizer, texts, *_, **__: cut.extend(texts))
    evaluation_of(Run(tier="mini", corpus=corpus, objective="rpt"))
    asked = {*cut, *(passage.text for passage in masked)}
    assert len(masked) == 400 and len(cut) == 64 and len(asked) >= 400
    for seed in range(5):
        read = load_passages(corpus, limit=Run(tier="mini").corpus_limit, seed=seed)
        assert len(read) > 1900 and not asked & {passage.text for passage in read}


def test_names_are_known_without_torch():
    code = "import sys; from pzlib.evaluation import EVALUATIONS, named; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
