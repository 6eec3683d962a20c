"""Thoughts that only repeat a word: each is paid for what it says, and no word is taken for another."""

import pytest
import torch
from skilled import passages as nine_words
from skilled import teach
from transformers import AutoTokenizer

from pzlib.engine.likelihood import after
from pzlib.engine.models import load
from pzlib.evaluation.probes import paid
from pzlib.objectives.rlp import names
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
