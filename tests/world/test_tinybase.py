"""tinybase: its tokenizer, its training, what a reader of next tokens gets right, and the shipped files."""

import json
import math
import random
from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from pzlib.engine.models import to_ask
from pzlib.evaluation.small_world import next_tokens, places
from pzlib.paths import REPO
from pzlib.run import Run
from pzlib.world.tinybase import BASES, STAGES, batches, pretrain, tokenizer
from pzlib.world.tinywiki import WORLDS, passages

SHIPPED = [name for name in BASES if (REPO / "data" / name / "config.json").exists()]


def test_text_comes_back_from_its_tokens_one_word_one_token():
    tok = tokenizer()
    for name in WORLDS:
        for passage in passages(name, 20, seed=1):
            ids = tok(passage.text)["input_ids"]
            assert len(ids) == passage.length and tok.decode(ids) == passage.text
    assert tok.convert_ids_to_tokens(tok("dr[mask]y [mask]")["input_ids"])[1::2] == ["[mask]", "[mask]"]
    assert "token_type_ids" not in tok("Sunday")


def test_batches_learn_nothing_from_prompts_and_padding():
    tok = tokenizer()
    for ids, labels, tokens in batches(tok, STAGES[0], random.Random(0), drawn=0):
        learned = labels != -100
        assert (labels[learned] == ids[learned]).all() and tokens == (ids != tok.pad_token_id).sum()
        assert not (ids[learned] == tok.pad_token_id).any()
        assert ((ids == tok.eos_token_id) & ~learned).sum() == 0  # every document's end is learned


@pytest.mark.slow
def test_equal_arguments_give_equal_weights(tmp_path):
    for name in ("a", "b"):
        stages = [replace(stage, tokens=15_000) for stage in STAGES]
        pretrain(96, tmp_path / name, seed=4, stages=stages, say=lambda _: None)
    first, second = (AutoModelForCausalLM.from_pretrained(tmp_path / name).state_dict() for name in "ab")
    assert all(torch.equal(first[k], second[k]) for k in first)
    assert json.loads((tmp_path / "a/pretraining.json").read_text())["seed"] == 4


@pytest.mark.slow
def test_killed_and_started_again_it_ends_with_equal_weights(tmp_path):
    settings = {"seed": 4, "stages": [replace(stage, tokens=60_000) for stage in STAGES[-2:]]}
    pretrain(96, tmp_path / "whole", say=lambda _: None, **settings)

    class Killed(Exception):
        pass

    kept = []
    save = torch.save

    def killing(state, path):
        save(state, path)
        kept.append((state["number"], state["learned"]["seen"]))
        if len(kept) in (1, 3):  # in the first stage, and in the second
            (tmp_path / "parts" / "unfinished.new").replace(tmp_path / "parts" / "unfinished.pt")
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "save", killing)
        for _ in range(2):
            with pytest.raises(Killed):
                pretrain(96, tmp_path / "parts", say=lambda _: None, every=0, **settings)
        pretrain(96, tmp_path / "parts", say=lambda _: None, every=0, **settings)
    assert {number for number, _ in kept} == {0, 1} and not (tmp_path / "parts/unfinished.pt").exists()
    first, second = (AutoModelForCausalLM.from_pretrained(tmp_path / n).state_dict() for n in ("whole", "parts"))
    assert all(torch.equal(first[k], second[k]) for k in first)


def test_an_unfinished_base_of_other_settings_is_not_gone_on_with(tmp_path):
    torch.save({"number": 0, "about": {"seed": 3}}, tmp_path / "unfinished.pt")
    with pytest.raises(ValueError, match="out: .* holds an unfinished base of other settings; delete .*unfinished.pt"):
        pretrain(96, tmp_path, seed=4, stages=STAGES[:1])


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_models_are_small_and_know_the_worlds_words(name):
    folder = REPO / "data" / name
    tok = AutoTokenizer.from_pretrained(folder)
    assert tok.get_vocab() == tokenizer().get_vocab()
    assert sum(f.stat().st_size for f in folder.iterdir()) < 5e6
    about, (width, seed, stages) = json.loads((folder / "pretraining.json").read_text()), BASES[name]
    assert (about["width"], about["seed"]) == (width, seed) and len(about["stages"]) == len(STAGES[:stages])


def test_the_early_checkpoint_is_a_third_of_the_way_to_the_first_base():
    *early, stages = BASES["tinybase_a_early"]
    assert early == [*BASES["tinybase_a"][:2]] and BASES["tinybase_a"][2] is None
    read = [sum(stage.tokens for stage in own) for own in (STAGES[:stages], STAGES)]
    assert read == [18_000_000, 55_000_000] and stages > 1  # what is saved is the mean of the last two


def test_next_tokens_ranks_by_entropy_and_says_what_a_greedy_reader_gets_right(tiny_model):
    model, tok = AutoModelForCausalLM.from_pretrained(tiny_model).eval(), AutoTokenizer.from_pretrained(tiny_model)
    texts = ["Anna lives in Rome . Bela works in Oslo .", "the old bank near the river is tall and red ."]
    table = next_tokens(model, tok, texts)
    assert table["passage"].value_counts().to_dict() == {0: 9, 1: 10}
    for number, text in enumerate(texts):
        ids, own = tok(text)["input_ids"], table[table["passage"] == number]
        probs = model(input_ids=torch.tensor([ids])).logits[0, :-1].softmax(-1).tolist()
        by_hand = [-sum(p * math.log(p) for p in row) for row in probs]
        assert own["entropy"].tolist() == pytest.approx(by_hand, rel=1e-4)
        assert own["right"].tolist() == [row.index(max(row)) == i for row, i in zip(probs, ids[1:], strict=True)]
        most = sorted(by_hand)[-(len(by_hand) // 5) :]
        assert sorted(own.loc[own["top_fifth"], "entropy"]) == pytest.approx(most, rel=1e-4)


def test_the_clean_world_lies_where_less_is_noise():
    table = places(*to_ask(Run()), ["tinywiki", "tinywiki_clean"], limit=10).T
    assert (table["tinywiki"] != table["tinywiki_clean"]).all() and table.stack().between(0, 100).all()
    assert table["tinywiki"]["top fifth: irreducible"] > table["tinywiki_clean"]["top fifth: irreducible"]
    assert table["tinywiki"]["top fifth: right"] < table["tinywiki"]["all: right"]
