"""The gate by hand on made-up episodes, on models that can and cannot play, and on the small world's base."""

import json
import math

import pandas as pd
import pytest
from skilled import teach, write_corpus

from pzlib.engine.models import load
from pzlib.evaluation.gate import GENERATOR, RULES, Gate, empty_thought, gate, played, scores
from pzlib.objectives.rlp import FORMS
from pzlib.run import Run

SIZES = {"min_tokens": 4, "min_context": 2, "max_completion_tokens": 10, "group": 4}


def test_scores_by_hand():
    run = Run(tier="smoke", group=2)
    asked = [  # passage, group, target, shown, rewards, completions
        ("p", 0, "Rome", "[mask] is old , rome is big", (1, 0), ("so \\boxed{ Rome }", "\\boxed{ Oslo }")),
        ("p", 1, "Oslo", "Rome and [mask] are old", (0, 0), ("well", "\\boxed{ Rome }")),
        ("q", 0, "Lima", "[mask] is near", (1, 1), ("\\boxed{ Rome }", "it is \\boxed{ Rome }")),
    ]
    rows = [
        {"role": "predictor", "passage_id": p, "block": p, "group_index": g, "mask": target, "shown": shown,
         "reward": reward, "completion": text, "prediction": None if text == "well" else "x", "length": 4 + reward,
         "clipped": text == "well"}
        for p, g, target, shown, rewards, texts in asked for reward, text in zip(rewards, texts, strict=True)
    ]  # fmt: skip
    table = scores(pd.DataFrame(rows), run, "random_span", passages=3).set_index("target")
    own = table.loc["all"]
    assert own["masks"] == 3 and own["alive"] == pytest.approx(1 / 6)  # one group of six: two passages lack groups
    assert 0 <= own["low"] < 1 / 6 < own["high"] <= 1
    assert own[["pass@1", "pass@2"]].tolist() == pytest.approx([0.5, 2 / 3])
    assert own["copy"] == pytest.approx(1 / 7 / 3)  # rome is one of the seven words shown with the first mask
    assert own["majority"] == 0  # of the other passage: Lima for p's two, Rome for q's; its own would give it a third
    assert own["parsed"] == pytest.approx(5 / 6) and own["reasons"] == pytest.approx(2 / 6)
    assert own["length"] == pytest.approx(4.5) and own["cut off"] == pytest.approx(1 / 6)
    assert table.loc["recurs", ["masks", "pass@1"]].tolist() == [1, 0.5]
    assert table.loc["does not recur", ["masks", "alive"]].tolist() == [2, 0]


def test_checks_hold_by_their_bounds_and_name_the_remedy():
    numbers = {"random_span/alive": 0.2, "pretrainzero/alive": 0.1, "legal": 0.9, "random_span/cut off": 0.2}
    checks = Gate(pd.DataFrame(), numbers).checks.set_index("check")
    assert checks["holds"].to_dict()["groups with signal, random spans"]
    assert "random_span_steps" in checks.loc["groups with signal, its own masks", "remedy"]
    assert checks.loc["answers cut off", "remedy"] == "raise max_completion_tokens"
    assert "three_shot" in checks.loc["answers that parse", "remedy"]
    unread = checks.loc["nats that an empty thought costs"]
    assert math.isnan(unread["value"]) and not unread["holds"] and checks.loc["legal masks", "remedy"] == ""


def test_a_model_that_was_taught_the_form_plays_and_a_random_one_does_not(tiny_model, tmp_path):
    corpus = write_corpus(tmp_path / "corpus.jsonl", n=12)
    teach(tiny_model, tmp_path / "taught", steps=60)
    taught, random = (
        gate(Run(tier="smoke", model=str(model), corpus=str(corpus), **SIZES), passages=3)
        for model in (tmp_path / "taught", tiny_model)
    )
    assert taught.numbers["legal"] > 0.5 > random.numbers["legal"]
    assert set(taught.rules["rule"]) == set(RULES) and len(taught.rules) == 3 * len(RULES)
    assert "its own masks" in str(random) and "cannot yet play" in random.verdict
    can, cannot = (found.checks.set_index("check")["value"] for found in (taught, random))
    assert can["masks that parse"] == taught.numbers["parsed"] > cannot["masks that parse"]
    assert {"masks that parse", "legal masks", "answers that parse", "answers cut off"} <= set(cannot.index)
    assert random.numbers[f"{GENERATOR}/alive"] == 0 and taught.numbers["tokens a second"] > 0
    with pytest.raises(ValueError, match="passages: 1 give no interval"):
        gate(Run(tier="smoke", model=str(tiny_model), corpus=str(corpus), **SIZES), passages=1)


def test_what_the_predictor_saw_is_the_passage_without_the_prompt(tiny_model, tmp_path):
    corpus = write_corpus(tmp_path / "corpus.jsonl", n=4)
    for rule in ("random_span", "random_next_token"):
        run = Run(tier="smoke", objective=rule, model=str(tiny_model), corpus=str(corpus), **SIZES)
        model, tokenizer = load(run)
        items = run.method.load_items(run, tokenizer)
        by_id = {item.id: item.text for item in items}
        for row in played(run, model, tokenizer, items).itertuples():
            whole = row.shown.replace("[mask]", row.mask) if rule == "random_span" else f"{row.shown} {row.mask}"
            assert by_id[row.passage_id].startswith(whole)


def test_an_empty_thought_costs_what_the_two_texts_differ_by(tiny_model, tmp_path):
    corpus = write_corpus(tmp_path / "corpus.jsonl", n=1)
    run = Run(tier="smoke", model=str(tiny_model), corpus=str(corpus), **SIZES)
    model, tokenizer = load(run)
    (item,) = run.method.load_items(run, tokenizer)
    words, costs = item.text.split(), []
    for at in range(2, len(words)):  # all of its places: there are no more than 8
        context = " ".join(words[:at])
        texts = (context, f"{FORMS['tiny'].prompt(context)} \\boxed{{")
        found = [model(**tokenizer(text, return_tensors="pt")).logits[0, -1].log_softmax(-1) for text in texts]
        bare, closed = (logp[tokenizer(words[at])["input_ids"][0]].item() for logp in found)
        costs.append(bare - closed)
    assert len(costs) == 8
    assert empty_thought(run, model, tokenizer, [item]) == pytest.approx(sum(costs) / 8, abs=1e-4)


def test_the_small_worlds_base_can_play():
    found = gate(Run(tier="mini"), passages=8)
    assert found.numbers["legal"] > 0.8 and found.numbers["random_span/pass@1"] > 0.3
    split = found.rules[found.rules["rule"] == "random_next_token"].set_index("target")
    assert split.loc["recurs", "pass@1"] > split.loc["does not recur", "pass@1"]


def test_text_that_the_tokenizer_does_not_know_is_refused(tiny_model, tmp_path):
    text = "Nobody ever taught these words to so small a model , he knows ."
    (tmp_path / "own.jsonl").write_text(json.dumps({"text": text}))
    with pytest.raises(ValueError, match=r"model: \d+% of the text's words are unknown to .*; give a model that knows"):
        gate(Run(tier="smoke", model=str(tiny_model), corpus=str(tmp_path / "own.jsonl"), min_tokens=4), passages=2)
