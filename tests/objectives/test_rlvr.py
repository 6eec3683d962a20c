"""RLVR by hand: two problems and their answers, General-Reasoner's amendments, and a run from another run's model."""

import random
from types import SimpleNamespace

import pytest
from transformers import AutoTokenizer

from pzlib.corpus import Problem
from pzlib.engine.generation import Answer
from pzlib.objectives.rlvr import RLVR
from pzlib.run import Run
from pzlib.runs.episodes import summary
from pzlib.runs.folder import RunFolder

PROBLEMS = [Problem("a", "Anna is five . Dora is two .", "seven", "sum"), Problem("b", "Where is Anna ?", "old Rome")]
PROMPTS = [f"Question : {problem.question} Answer :" for problem in PROBLEMS]
SAID = {
    PROMPTS[0]: ["\\boxed{ seven }", "five and two \\boxed{ seven }", "\\boxed{ nine }", "seven"],
    PROMPTS[1]: ["\\boxed{ old Rome }"] * 4,
}


@pytest.fixture(scope="module")
def tokenizer(tiny_model):
    return AutoTokenizer.from_pretrained(tiny_model)


@pytest.fixture
def ask(tokenizer):
    def answer(text, said):
        return Answer(tokenizer(text)["input_ids"], tokenizer(said)["input_ids"] + [1], said, 0.5, False)

    return lambda texts: [[answer(text, said) for said in SAID[text]] for text in texts]


def play(ask, tokenizer, **settings):
    run = Run(tier="smoke", objective="rlvr", group=4, passages=2, **settings)
    return RLVR(run, PROBLEMS, tokenizer).play(PROBLEMS, ask, random.Random(0))


def test_two_problems_worked_by_hand(ask, tokenizer):
    first, second = play(ask, tokenizer)
    assert [row.score for row in first.rows] == [1.0, 1.0, 0.0, 0.0] and [row.score for row in second.rows] == [1.0] * 4
    a = 0.5 / ((1 / 3) ** 0.5 + 1e-4)  # mean 1/2; the unbiased std of 1, 1, 0, 0 is sqrt(1 / 3)
    assert [row.episode["advantage"] for row in first.rows] == pytest.approx([a, a, -a, -a])
    assert [row.episode["verdict"] for row in first.rows] == ["right", "right", "wrong", "no answer"]
    facts = first.rows[0].episode
    assert (facts["role"], facts["mask"], facts["kind"], facts["passage_id"]) == ("predictor", "seven", "sum", "a")
    assert (facts["prompt"], facts["prediction"].strip()) == (PROMPTS[0], "seven")
    assert first.live(4) and not second.live(4)


def test_general_reasoners_amendments(ask, tokenizer, monkeypatch):
    first, _ = play(ask, tokenizer, length_penalty=0.05, no_answer_reward=-0.5)
    assert [row.score for row in first.rows] == [1.0, 1.0, 0.0, -0.5]  # no token more or less than the gold answer
    monkeypatch.setitem(SAID, PROMPTS[0], [f"\\boxed{{ {said} }}" for said in ("7 + 0", "7", "14 / 2", "8")])
    problem = Problem("a", PROBLEMS[0].question, "7")
    run = Run(tier="smoke", objective="rlvr", group=4, length_penalty=0.05, verifier="math")
    (block,) = RLVR(run, [problem], tokenizer).play([problem], ask, random.Random(0))
    assert [row.score for row in block.rows] == pytest.approx([0.9, 1.0, 0.9, 0.0])  # two tokens more: 2 x 0.05
    assert [row.episode["verdict"] for row in block.rows] == ["right", "right", "right", "wrong"]
    problem = Problem("a", PROBLEMS[0].question, "7 + 0")  # shorter costs as much
    (block,) = RLVR(run, [problem], tokenizer).play([problem], ask, random.Random(0))
    assert [row.score for row in block.rows] == pytest.approx([1.0, 0.9, 1.0, 0.0])


def test_the_metrics_count_what_is_right_whatever_it_is_paid(ask, tokenizer):
    blocks = play(ask, tokenizer, no_answer_reward=-0.5)
    episodes = [{"row": i, **row.episode} for block in blocks for i, row in enumerate(block.rows)]
    metrics = summary([(episodes, [1] * 8, 8, 0, 10)], group=4)
    assert metrics["predictor/accuracy"] == 6 / 8 and metrics["predictor/reward"] == pytest.approx(5.5 / 8)
    dead = [metrics[f"predictor/{name}"] for name in ("dead_groups", "dead_right", "dead_wrong")]
    assert dead == [0.5, 0.5, 0]
    assert metrics["verdict/right"] == 6 / 8 and metrics["verdict/no answer"] == 1 / 8
    assert metrics["accuracy/sum"] == 0.5 and metrics["hits/2"] == 0.5 and metrics["mask/position"] is None


def test_a_rollout_has_one_group_a_problem(ask, tokenizer, tmp_path):
    run = Run(tier="smoke", objective="rlvr", group=4, passages=2)
    exam = RLVR(run, PROBLEMS, tokenizer, RunFolder(tmp_path / "r").open(run))
    exam.ask = lambda texts, trainer, generator: ask(texts)
    state = {"state": SimpleNamespace(global_step=0), "accelerator": SimpleNamespace(process_index=0)}
    out = exam.rollout(["a"] * 4 + ["b"] * 4, SimpleNamespace(**state, use_vllm=False))
    assert len(exam.reward_funcs()) == 1 and run.rows_per_step == 8
    assert out["predictor_score"] == [1.0, 1.0, 0.0, 0.0, None, None, None, None]  # the group without signal is out
    stored = exam.folder.episodes()
    assert list(stored["verdict"][:4]) == ["right", "right", "wrong", "no answer"] and len(stored) == 8


@pytest.mark.parametrize("objective, corpus", [("rlvr", "tinybench"), ("random_span", "tinywiki")])
def test_a_run_reads_the_items_of_its_seed(objective, corpus, tokenizer):
    runs = [Run(tier="smoke", objective=objective, corpus=corpus, corpus_limit=20, seed=seed) for seed in (0, 0, 1)]
    first, again, other = (run.method.load_items(run, tokenizer).digest for run in runs)
    assert first == again != other


def test_the_paper_tier_is_general_reasoners_recipe_at_an_eighth():
    """400 steps of 128 prompts, 8 rollouts, four mini-batches, clip 0.3 (dual 10), KL 1e-4, entropy 1e-3, 5e-7."""
    run = Run(tier="paper", objective="rlvr")
    assert (run.steps, run.passages * run.groups_per_block, run.group, run.updates_per_batch) == (400, 128, 8, 4)
    assert (run.clip_low, run.clip_high, run.clip_dual, run.kl, run.entropy_bonus) == (0.3, 0.3, 10.0, 1e-4, 1e-3)
    assert (run.learning_rate, run.max_prompt_tokens, run.max_completion_tokens) == (5e-7, 1024, 8192)
    assert (run.corpus, run.length_penalty, run.no_answer_reward) == ("TIGER-Lab/WebInstruct-verified", 0.05, -0.5)
    assert Run(tier="paper").updates_per_batch == 1, "of other methods one, as RPT and RLPT state"
