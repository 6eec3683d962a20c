"""Held-out text along training: likelihoods against the model's own numbers, by hand."""

import json
import math

import pytest
import torch
from skilled import passages

from pzlib.engine.models import load
from pzlib.evaluation import evaluation_of, held_out
from pzlib.evaluation.held_out import FORM, GROUP, NONE, OTHER, OWN, TEXT, bits, masked, nats
from pzlib.prompts import TINY, predictor_prompt
from pzlib.run import Run
from pzlib.runs.folder import RunFolder
from pzlib.train import train


@pytest.fixture
def run(skilled, tmp_path):
    text = tmp_path / "held_out.jsonl"
    text.write_text("".join(json.dumps({"id": f"h{i}", "text": p.text}) + "\n" for i, p in enumerate(passages(8, 5))))
    return Run(
        tier="smoke", objective="random_span", model=str(skilled / "model"), corpus=str(skilled / "corpus.jsonl"),
        held_out=str(text), min_tokens=4, max_prompt_tokens=32, max_completion_tokens=8, span_words=1, eval_items=8,
    )  # fmt: skip


def log_p(model, tokenizer, text, target):
    """Mean log p a token of `target`, which ends `text`."""
    ids, wanted = tokenizer(text)["input_ids"], len(tokenizer(target)["input_ids"])
    with torch.no_grad():
        logp = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    return sum(logp[i - 1, ids[i]].item() for i in range(len(ids) - wanted, len(ids))) / wanted


def test_scores_are_the_models_own_likelihoods(run):
    model, tokenizer = load(run)
    by_task = {row["task"]: row for row in evaluation_of(run)(model, tokenizer, 0)}
    assert set(by_task) == {OWN, NONE, OTHER, FORM, TEXT} and {row["group"] for row in by_task.values()} == {GROUP}
    held = held_out.load_passages(run.held_out, limit=8, tokenizer=tokenizer, min_tokens=4, max_tokens=80)
    texts = [passage.text for passage in held]
    found = [log_p(model, tokenizer, f"{predictor_prompt(mask.text, TINY)} \\boxed{{ {mask.target}", mask.target)
             for mask in masked(texts, 1)]  # fmt: skip
    assert by_task[NONE]["n"] == len(found) == 8
    assert nats(by_task[NONE]["accuracy"]) == pytest.approx(sum(found) / 8, abs=1e-4)
    assert by_task[NONE]["low"] <= by_task[NONE]["accuracy"] <= by_task[NONE]["high"]
    whole = sum(log_p(model, tokenizer, text, " ".join(text.split()[1:])) * (len(text.split()) - 1) for text in texts)
    size = sum(len(text.encode()) for text in texts)
    assert by_task[TEXT]["n"] == size
    assert bits(by_task[TEXT]["accuracy"]) == pytest.approx(-whole / size / math.log(2), rel=1e-4)
    assert 0 < by_task[FORM]["accuracy"] <= 1 and by_task[FORM]["length"] > 0


def test_an_answer_is_put_behind_the_text_that_is_given(run):
    model, tokenizer = load(run)
    prompt, target = predictor_prompt("[mask] lives in Rome .", TINY), "Anna"
    answer = held_out.Answer(tokenizer(prompt)["input_ids"], [], "", 0.0, False)
    for text in (" ", "near the old bank "):
        (value,) = held_out.behind(model, tokenizer, [answer], [target], [text], "tiny")
        assert value == pytest.approx(log_p(model, tokenizer, f"{prompt} {text} \\boxed{{ {target}", target), abs=1e-4)


def test_a_run_is_asked_its_held_out_text_along_training_and_keeps_its_name(run):
    plain = {name: value for name, value in run.to_dict().items() if name != "held_out"}
    assert Run(**plain).run_id != run.run_id and Run(**plain, held_out="").run_id == Run(**plain).run_id
    short = Run(**run.to_dict() | {"steps": 2, "passages": 1, "group": 2, "reward": "random", "eval_every": 1})
    train(short, evaluate=evaluation_of(short))
    rows = RunFolder(short.folder).evals()
    assert sorted(rows["step"].unique()) == [0, 1, 2] and rows["prompts"].nunique() == 2
    assert nats(rows.set_index(["step", "task"]).loc[(2, OWN), "accuracy"]) < 0
    rewards = RunFolder(short.folder).episodes()["reward"]
    assert rewards.between(0, 1).all() and rewards.nunique() == len(rewards)
