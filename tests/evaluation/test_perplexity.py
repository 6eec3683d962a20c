"""Perplexity against a slow loop and a model that knows nothing."""

import math
from dataclasses import replace

import pytest
import torch
from skilled import passages as nine_words
from transformers import AutoModelForCausalLM, AutoTokenizer

from pzlib.evaluation.next_tokens import perplexity, surprises
from pzlib.masking import Passage

LABELLED = Passage("p", "", "Anna is tall and red", 5, kinds=((0, 4, "irreducible"), (8, 12, "sum"), (17, 20, "sum")))


@pytest.fixture
def model(tiny_model):
    return AutoModelForCausalLM.from_pretrained(tiny_model)


@pytest.fixture
def tokenizer(tiny_model):
    return AutoTokenizer.from_pretrained(tiny_model)


def test_surprises_are_those_of_a_slow_loop(model, tokenizer):
    ids = tokenizer(LABELLED.text)["input_ids"]
    model.train()
    found, single = surprises(model, [ids, ids[:1]])
    assert model.training and single == [] and len(found) == 4
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
