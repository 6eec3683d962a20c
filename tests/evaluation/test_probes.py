"""Reasonings replaced, by hand and on tinybase; thoughts that only repeat a word are paid for what they say."""

import json

import pandas as pd
import pytest
import torch
from skilled import passages as nine_words
from skilled import teach, write_corpus, write_problems
from transformers import AutoTokenizer

from pzlib.engine.models import load
from pzlib.engine.packing import after
from pzlib.evaluation.cases import answers, masked_cases
from pzlib.evaluation.probes import (
    GENERIC,
    effects,
    episodes_of,
    gains,
    held_out_items,
    paid,
    probe,
    probed,
    reasoning,
    replacements,
)
from pzlib.evaluation.small_world import complete, held_out, spans
from pzlib.objectives.rlp import RLP, names
from pzlib.prompts import parse_boxed
from pzlib.rewards import predictor_reward
from pzlib.run import Run
from pzlib.world.tinywiki import kind_class

MADE = ["none", "only the token", "only another token"]


@pytest.fixture(scope="module")
def skilled(tiny_model, tmp_path_factory):
    torch.manual_seed(0)
    return teach(tiny_model, tmp_path_factory.mktemp("skilled") / "model", steps=40)


def test_every_thought_is_paid_for_what_it_says(skilled):
    run = Run(tier="smoke", objective="rlp", model=str(skilled), group=3, min_context=2, max_completion_tokens=6)
    model, tokenizer = load(run)
    items = nine_words(6)
    table = paid(run, model, tokenizer, items, seed=1)
    assert len(table) == 6 * (3 + 3) and table.equals(paid(run, model, tokenizer, items, seed=1))
    assert table["way"].value_counts()[MADE].tolist() == [6] * 3
    assert table["class"].tolist() == [kind_class(kind) for kind in table["kind"]]
    for (_, rows), passage in zip(table.groupby(table.index // 6), items, strict=True):
        told = rows.set_index("way")
        token = told["token"].iloc[0]
        context = passage.text[: passage.text.index(token)]
        said = told.loc[MADE, "thought"].tolist()
        assert (
            said[0] == "" and said[1] == f"Think : {token} . " and said[2].startswith("Think : ") and said[2] != said[1]
        )
        prompt = tokenizer(f"Passage : {context} [mask] Answer :")["input_ids"]
        branches = tokenizer([f"{thought}\\boxed{{" for thought in said])["input_ids"]
        target = AutoTokenizer.from_pretrained(skilled)(token)["input_ids"][0]
        (with_,), ((without,),) = (
            after(model, [(prompt, branches, target)]),
            after(model, [(tokenizer(context)["input_ids"], [[]], target)]),
        )
        assert told.loc[MADE, "gain"].tolist() == pytest.approx([logp - without for logp in with_], abs=1e-5)
        own = rows[rows["way"].str.startswith("its own")]
        assert len(own) == 3
        assert [names(text, token) for text in own["thought"]] == [way.endswith(", naming it") for way in own["way"]]


def test_replacements_by_hand():
    found = replacements(["a . ", "b . ", "c . "], ["Rome", "Rome", "Oslo"], [2, 5, 1], "tiny")
    assert list(found) == ["own", "another's", "blank", "generic"]
    assert found["own"] == ["a . ", "b . ", "c . "]
    assert found["another's"] == ["c . ", "c . ", "a . "]  # about another word: b's is about Rome, as a's
    assert found["blank"] == [" . . ", " . . . . . ", " . "] and found["generic"] == [GENERIC["tiny"]] * 3
    with pytest.raises(ValueError, match="targets: all are equal"):
        replacements(["a", "b"], ["Rome", "Rome"], [1, 1], "tiny")


def test_a_reasoning_ends_where_the_answer_opens_and_closes_its_thought():
    assert reasoning("<think> it was \\boxed{ 5 }") == "<think> it was </think> "
    assert reasoning("<think> it was </think> so \\boxed{ 5 }") == "<think> it was </think> so "
    assert reasoning("it was </think>", "</think>") == "it was "


def test_effects_by_hand():
    told = [("p", "own", 1.0, -1.0), ("p", "own", 0.0, -3.0), ("q", "own", 1.0, -2.0), ("r", "own", 1.0, 0.0)]
    told += [("p", "blank", 0.0, -4.0), ("p", "blank", 0.0, -4.0), ("q", "blank", 1.0, -1.0), ("r", "blank", 0.0, -2.0)]
    rows = effects(pd.DataFrame(told, columns=["case", "way", "right", "nats"])).set_index("measure")
    assert rows["way"].tolist() == ["blank"] * 2 and rows["n"].tolist() == [3, 3]  # two answers to p are one case
    assert rows.loc["right", ["own", "mean", "change"]].tolist() == pytest.approx([2.5 / 3, 1 / 3, -1.5 / 3])
    assert rows.loc["nats", ["own", "mean", "change"]].tolist() == pytest.approx([-4 / 3, -7 / 3, -1.0])  # -2, 1, -2
    assert rows.loc["right", "p"] == 0.5 and rows.loc["nats", "p"] == 0.5  # 4 of the 8 patterns of signs
    assert rows.loc["nats", "low"] < -1 < rows.loc["nats", "high"]


def test_a_replaced_reasoning_is_scored_as_by_hand(skilled):
    model, tokenizer = load(Run(tier="smoke", model=str(skilled)))
    prompts = ["Passage : Anna lives in [mask] . Answer :", "Passage : [mask] has two cats . Answer :"]
    said = ["Think : near the river . \\boxed{ Oslo }", "Think : a . \\boxed{ Bela }", "\\boxed{ Rome }", "Think : it"]
    table = pd.DataFrame({"prompt": [*prompts, *prompts], "target": ["Rome", "Bela"] * 2, "completion": said,
                          "case": list("pqpq"), "sample": [0, 0, 1, 1], "kind": "name"})  # fmt: skip
    rows = probed(model, tokenizer, table)
    assert rows["way"].value_counts().to_dict() == dict.fromkeys(("own", "another's", "blank", "generic"), 3)
    assert [*zip(rows["case"], rows["sample"], strict=True)][:3] == [("p", 0), ("q", 0), ("q", 1)]  # one had none
    texts = {"own": "Think : near the river .", "another's": "Think : a .", "blank": ". . . . . ."}
    texts |= {"generic": GENERIC["tiny"]}
    for way, text in texts.items():
        row = rows[(rows["way"] == way) & (rows["case"] == "p")].iloc[0]
        ids = tokenizer(f"{prompts[0]} {text} \\boxed{{ Rome", return_tensors="pt")["input_ids"]
        with torch.no_grad():
            logits = model.eval()(input_ids=ids).logits[0]
        assert row["nats"] == pytest.approx(logits[-2].log_softmax(-1)[ids[0, -1]].item(), abs=1e-4), way
        grown = ids[:, :-1]
        for _ in range(2):
            grown = torch.cat([grown, model(input_ids=grown).logits[:, -1:].argmax(-1)], 1)
        assert row["right"] == (tokenizer.decode(grown[0, -2:]) == "Rome }")
    with pytest.raises(ValueError, match="none says anything before its box"):
        probed(model, tokenizer, table[2:3])


KINDS = ("two_step", "sum", "weekday", "trivial")


def test_the_base_answers_by_what_it_reasons(tmp_path):
    run = Run(tier="mini")
    items = [item for item in spans(held_out("tinywiki", 100), 4, seed=-1) if item[0] in KINDS]
    table = answers(run, masked_cases(items), tmp_path / "answers.jsonl", source="base", samples=4)
    rows = probed(*load(run), table)
    kept = table[table["completion"].map(reasoning).str.strip() != ""]
    assert kept["case"].nunique() > 6 and len(rows) == 4 * len(kept)
    begun = GENERIC["tiny"] + "\\boxed{"
    texts, _ = complete(*load(run), (kept["prompt"] + " " + begun).tolist())  # what is most likely, each time
    boxes = [parse_boxed(f"{begun} {text}") for text in texts]
    right = [predictor_reward(box, target) for box, target in zip(boxes, kept["target"], strict=True)]
    assert rows[rows["way"] == "generic"]["right"].tolist() == right and 0 < sum(right) < len(right)
    found = effects(rows).set_index(["way", "measure"])["change"]
    assert found["another's", "right"] < -0.2 and found["another's", "nats"] < -1


FORMS = ["pretrainzero", "random_span", "random_next_token", "entropy_next_token", "rpt", "rlp", "rlpt", "rlvr", "sft"]


def thinking(tiny_model, folder):
    """The tiny model taught to say a word or two before its box, whatever is asked."""
    torch.manual_seed(0)
    return teach(tiny_model, folder, steps=40, thought="Anna has a book . ")


@pytest.mark.parametrize("objective", FORMS)
def test_every_method_is_probed_in_its_own_form(objective, tiny_model, tmp_path, home):
    write_corpus(tmp_path / "corpus.jsonl", n=80)
    write_problems(tmp_path / "problems.jsonl", n=80)
    if objective == "rlpt":  # it asks for sentences
        texts = [" . ".join(p.text[:-2] for p in nine_words(3, seed=n, words=4)) + " ." for n in range(80)]
        (tmp_path / "corpus.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    text = tmp_path / ("problems.jsonl" if objective == "rlvr" else "corpus.jsonl")
    sizes = {"min_tokens": 4, "corpus_limit": 20, "min_context": 2, "max_completion_tokens": 10}
    model = thinking(tiny_model, tmp_path / "model")
    run = Run(tier="smoke", objective=objective, model=str(model), corpus=str(text), **sizes)
    loaded, tokenizer = load(run)
    held = held_out_items(run, tokenizer, 6)
    read = {getattr(item, "text", None) or item.question for item in run.method.load_items(run, tokenizer)}
    assert len(held) == 6 and not read & {getattr(item, "text", None) or item.question for item in held}
    table, opening = episodes_of(run, loaded, tokenizer, held, samples=2)
    assert opening == "\\boxed{" and set(table["sample"]) >= {0, 1} and table["target"].str.len().min() > 0
    assert table.groupby("case")["prompt"].nunique().eq(1).all()
    rows = probe(run, str(model), items=6, samples=2)
    assert set(rows["way"]) == {"another's", "blank", "generic"} and set(rows["measure"]) == {"right", "nats"}
    assert rows["low"].le(rows["change"]).all() and rows["high"].ge(rows["change"]).all()
    assert rows.equals(probe(run, str(model), items=6, samples=2))  # the same questions and draws again


def test_an_answer_in_no_box_follows_the_thought_with_its_own_space(skilled):
    run = Run(tier="smoke", objective="rlp", template="paper", model=str(skilled), min_context=2)
    model, tokenizer = load(run)
    (item,) = nine_words(1)
    method, before = RLP(run, [item], tokenizer, model=model), item.text.split()[:3]
    word = item.text.split()[3]
    episode = {"prompt": method.form.prompt(" ".join(before)), "passage_id": item.id, "mask": word}
    assert method.continuation(episode) == f" {word}" and method.opening == "</think>"
    table = pd.DataFrame({"prompt": ["Anna has", "Bela has"], "target": ["Rome", "Oslo"], "case": ["p", "q"],
                          "kind": "",
                          "completion": ["so it is </think>", "a </think>"], "sample": 0})  # fmt: skip
    rows = probed(model, tokenizer, table, "paper", "</think>")
    texts = {"own": "so it is", "another's": "a", "blank": ". . .", "generic": GENERIC["</think>"]}
    for way, text in texts.items():
        row = rows[(rows["way"] == way) & (rows["case"] == "p")].iloc[0]
        ids = tokenizer(f"Anna has {text} </think>", return_tensors="pt")["input_ids"]
        with torch.no_grad():
            logp = model.eval()(input_ids=ids).logits[0, -1].log_softmax(-1)
        word = tokenizer("Rome")["input_ids"][0]
        assert row["nats"] == pytest.approx(logp[word].item(), abs=1e-4), way
        assert row["right"] == float(logp.argmax() == word)


def test_a_text_that_a_run_reads_whole_holds_nothing_out(tiny_model, tmp_path):
    write_corpus(tmp_path / "corpus.jsonl", n=10)
    run = Run(tier="smoke", model=str(tiny_model), corpus=str(tmp_path / "corpus.jsonl"), min_tokens=4)
    with pytest.raises(ValueError, match="corpus: the run reads all of .* so nothing is held out"):
        probe(run, str(tiny_model))
    with pytest.raises(ValueError, match="items, samples: 1 and 4"):
        probe(run, str(tiny_model), items=1)


def test_gains_are_means_and_counts_by_kind_and_way(skilled):
    run = Run(tier="smoke", objective="rlp", model=str(skilled), group=3, min_context=2, max_completion_tokens=6)
    rows, table = (function(run, *load(run), nine_words(6)) for function in (paid, gains))
    for (name, way), own in rows.groupby(["kind", "way"]):  # these texts have no labels
        assert table.loc[name, ("mean", way)] == pytest.approx(own["gain"].mean())
        assert table.loc[name, ("count", way)] == len(own)
    assert table["count"].to_numpy().sum() == len(rows) and table["count"].dtypes.eq(int).all()
