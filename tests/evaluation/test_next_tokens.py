"""Next tokens: RPT's splits, nested by entropy and scored by hand; perplexity against a slow loop and a blank model."""

import math
import re
from dataclasses import replace

import pytest
import torch
from skilled import passages as nine_words
from transformers import AutoModelForCausalLM, AutoTokenizer

from pzlib.engine.models import to_ask
from pzlib.engine.packing import entropies
from pzlib.evaluation import next_tokens as module
from pzlib.evaluation import small_world
from pzlib.evaluation.next_tokens import (
    Position,
    along,
    held_out,
    next_tokens,
    perplexity,
    predicted_directly,
    rows,
    splits,
)
from pzlib.masking import Passage
from pzlib.objectives.targets import target_at, token_offsets
from pzlib.run import Run
from pzlib.runs.folder import EVAL_COLUMNS, RunFolder
from pzlib.train import train
from pzlib.world import tinywiki

TEXT = "Anna lives in Rome near the old river ."
LABELLED = Passage("p", "", "Anna is tall and red", 5, kinds=((0, 4, "irreducible"), (8, 12, "sum"), (17, 20, "sum")))
OFFSETS = [match.span() for match in re.finditer(r"\S+", TEXT)]


@pytest.fixture(scope="module")
def base():
    return to_ask(Run())


@pytest.fixture(scope="module")
def tokenizer(tiny_model):
    return AutoTokenizer.from_pretrained(tiny_model)


def position(tokenizer, place, nats, number=0):
    (ids,), (offsets,) = token_offsets(tokenizer, [TEXT])
    return Position(target_at(TEXT, offsets, place), number, tuple(ids), nats)


def test_splits_are_nested(tokenizer):
    found = {nats: position(tokenizer, 3, nats).splits() for nats in (0.4, 0.5, 0.99, 1.0, 1.7)}
    assert found == {0.4: [], 0.5: ["easy"], 0.99: ["easy"], 1.0: ["easy", "medium"], 1.7: ["easy", "medium", "hard"]}


def test_rows_by_hand(tokenizer):
    # " Rome" at 1.2 nats, " near" at 2 nats; two answers to each, the second position's right predicted_directly
    asked = [position(tokenizer, 3, 1.2), position(tokenizer, 4, 2.0)]
    said = ["\\boxed{ Rome }", "Think : a . \\boxed{ Oslo }", "Think : b . \\boxed{ near the }", "\\boxed{ near }"]
    found = {row["task"]: row for row in rows(asked, said, [4, 8, 9, 4], [False, True], "tiny")}
    assert set(found) == {f"next token, {s}{way}" for s in module.THRESHOLDS for way in ("", ", direct")}
    easy, hard = found["next token, easy"], found["next token, hard"]
    assert (easy["group"], easy["n"], easy["correct"], easy["accuracy"]) == ("next token", 4, 3, 0.75)
    assert (easy["length"], easy["reasoned"]) == (6.25, 0.5)
    assert found["next token, medium"] == easy | {"task": "next token, medium"}
    assert (hard["n"], hard["correct"]) == (2, 2)  # several tokens at once are right
    outside = found["next token, easy, direct"]
    assert (outside["group"], outside["n"], outside["correct"]) == ("next token, direct", 2, 1)
    assert {"step", *easy} == set(EVAL_COLUMNS)


def test_the_standard_prediction_is_the_likeliest_token_of_the_bare_text(tiny_model, tokenizer):
    model, asked = AutoModelForCausalLM.from_pretrained(tiny_model).train(), []
    for number, place in enumerate((2, 5, 8)):
        one = position(tokenizer, place, 2.0, number)
        read = tokenizer(one.target.context, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            best = model.eval()(input_ids=read).logits[0, -1].argmax().item()
        true = best if place != 5 else best - 1  # a text that goes on as the model thinks, but for one
        asked += [replace(one, ids=(*one.ids[:place], true)), replace(one, target=target_at(TEXT, OFFSETS, 1))]
    model.train()
    found = predicted_directly(model, [asked[0], asked[2], asked[4]])
    assert found == [True, False, True] and model.training
    both = predicted_directly(model, asked)  # two positions of each text are read in one go
    assert both[::2] == found
    assert predicted_directly(model, [asked[1]]) == [both[1]] == [both[3]] == [both[5]]


def test_held_out_positions_are_uncertain_have_context_and_depend_on_their_seed_alone(base):
    model, tokenizer = base
    texts = [passage.text for passage in tinywiki.passages("tinywiki", 6, seed=-1)]
    asked = held_out(model, tokenizer, texts, each=4, min_context=5)
    assert asked == held_out(model, tokenizer, texts, 4, 5) != held_out(model, tokenizer, texts, 4, 5, seed=1)
    assert [one.text for one in asked] == sorted(one.text for one in asked) and len(asked) == 24
    nats = entropies(model, token_offsets(tokenizer, texts)[0], 16)
    for one in asked:
        assert one.nats == nats[one.text][one.target.first] >= 0.5 and one.nats <= math.log(16) + 1e-5
        assert one.target.first >= 5 and one.target.context + one.target.continuation == texts[one.text]
    with pytest.raises(ValueError, match="texts: no token of 6 has 500 tokens before it"):
        held_out(model, tokenizer, texts, 4, min_context=500)


def test_a_model_of_another_tokenizer_is_refused(base, tiny_model, tokenizer):
    ask = next_tokens(*base, [passage.text for passage in tinywiki.passages("tinywiki", 2, -1)], 2, 5, "tiny")
    with pytest.raises(ValueError, match="model: has another tokenizer than the scorer"):
        ask(AutoModelForCausalLM.from_pretrained(tiny_model), tokenizer, 0)


@pytest.fixture
def model(tiny_model):
    return AutoModelForCausalLM.from_pretrained(tiny_model)


def test_surprises_are_those_of_a_slow_loop(model, tokenizer):
    ids = tokenizer(LABELLED.text)["input_ids"]
    model.train()
    table = small_world.next_tokens(model, tokenizer, [LABELLED.text, "Anna"])
    found = table["surprise"].tolist()
    assert model.training and table["passage"].tolist() == [0] * 4  # of a text of one token nothing is predicted
    model.eval()
    for i, nats in enumerate(found, 1):
        logits = model(input_ids=torch.tensor([ids[:i]])).logits[0, -1].tolist()
        assert nats == pytest.approx(math.log(sum(map(math.exp, logits))) - logits[ids[i]], abs=1e-5)


def test_a_model_that_knows_nothing_has_the_perplexity_of_its_vocabulary(model, tokenizer):
    with torch.no_grad():
        model.get_input_embeddings().weight.zero_()
    table = perplexity(model, tokenizer, nine_words(2)).set_index("task")
    assert table["perplexity"].to_dict() == pytest.approx({"text": len(tokenizer)})
    assert table["tokens"]["text"] == 2 * 9  # of ten words each, the first has nothing before it


def test_classes_of_labelled_text_add_up_to_the_whole(model, tokenizer):
    table = perplexity(model, tokenizer, [LABELLED]).set_index("task")
    assert table["tokens"].to_dict() == {"text": 4, "trivial": 2, "reasoning": 2}  # the first word is never predicted
    total = (table["tokens"] * table["nats"]).drop("text").sum()
    assert total == pytest.approx(4 * table["nats"]["text"]) and table["group"].tolist() == ["text", *["classes"] * 2]
    with pytest.raises(ValueError, match="passages: none has two tokens"):
        perplexity(model, tokenizer, [replace(LABELLED, text="Anna", kinds=())])


def real_run(skilled, limit, **more):
    """A run on texts of a file, not of a small world."""
    settings = {"tier": "smoke", "steps": 3, "keep_every": 1, "min_tokens": 4, "max_prompt_tokens": 32, "passages": 1,
                "max_completion_tokens": 8, "name": "kept", "objective": "random_span", "min_context": 2}  # fmt: skip
    corpus = str(skilled / "corpus.jsonl")
    return Run(model=str(skilled / "model"), corpus=corpus, corpus_limit=limit, **settings | more)


def test_every_model_of_a_run_is_asked_for_next_tokens_of_text_that_it_does_not_read(skilled, home, monkeypatch):
    monkeypatch.setattr(module, "THRESHOLDS", {"easy": 0.0, "medium": 0.5, "hard": 1.0})  # of this sure little model
    folder, said = train(real_run(skilled, 10)), []
    table = along("kept", passages=4, each=2, say=said.append)
    assert said[0] == f"step 0: {skilled}/model, next tokens of 4 held-out passages" and len(said) == 4
    rows = folder.evals()
    assert sorted(set(rows["step"])) == [0, 1, 2, 3] and set(rows["group"]) == {"next token", "next token, direct"}
    assert rows.groupby("task")["prompts"].nunique().eq(1).all() and len(table) == len(rows)
    assert rows.loc[rows["task"] == "next token, easy", "n"].tolist() == [4 * 2 * 4] * 4


def test_runs_of_problems_are_not_asked_for_next_tokens(home):
    with pytest.raises(FileNotFoundError, match="'none' is not a run"):
        along("none")
    run = Run(tier="smoke", objective="rlvr", name="kept")
    RunFolder(run.folder).open(run).set_status("complete", step=12, steps=12)
    with pytest.raises(ValueError, match="next_tokens: kept reads problems"):
        along("kept")


def test_splits_of_a_world_are_shares_and_nested(base):
    table = splits(*base, ["tinywiki_clean"], min_context=5)
    assert table.index.tolist() == [("tinywiki_clean", split) for split in ("all", "easy", "medium", "hard")]
    of_all = table.pop("of all positions")
    assert of_all.is_monotonic_decreasing and of_all.iloc[0] == 1 and table.pop("right directly").between(0, 1).all()
    assert table.sum(axis=1).round(9).eq(1).all()
