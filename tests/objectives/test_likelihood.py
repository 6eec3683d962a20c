"""Rewards by likelihood: worked by hand, scored at the right tokens, real-valued in a real run."""

import math
import random

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from pzlib.engine.generation import Answer
from pzlib.engine.packing import likelihoods
from pzlib.masking import Passage
from pzlib.objectives.likelihood import LIKELIHOODS, UNANSWERED, likelihood_rewards, placed
from pzlib.run import Run
from pzlib.train import train

HALF, FOURTH = math.log(0.5), math.log(0.25)


@pytest.fixture(scope="module")
def tokenizer(tiny_model):
    return AutoTokenizer.from_pretrained(tiny_model)


@pytest.mark.parametrize(
    "reward, wanted",
    [
        ("prob", [1 / 8, 1 / 4, 1e-12]),
        ("avg_prob", [3 / 8, 1 / 2, 1e-6]),
        ("logprob", [3 * HALF, 2 * HALF, 2 * UNANSWERED]),
        ("avg_logprob", [1.5 * HALF, HALF, UNANSWERED]),
        # the mean of 1/8, 1/4 and 1e-12 is 1/8; without one of them it is 1/8, 1/16 and 3/16
        ("jepo", [0.0, math.log(2), math.log(2 / 3)]),
    ],
)
def test_a_group_worked_by_hand(reward, wanted):
    found = likelihood_rewards([[HALF, FOURTH], [HALF, HALF], None], reward, tokens=2)
    assert found == pytest.approx(wanted, rel=1e-6, abs=1e-9)


def test_an_unknown_reward_is_refused_and_one_that_does_not_fit_names_those_that_do():
    with pytest.raises(ValueError, match="reward: 'best' is not a likelihood; choose one of prob, avg_prob"):
        likelihood_rewards([[HALF]], "best", 1)
    with pytest.raises(ValueError, match="reward: 'prob' does not fit what rlvr asks; it takes exact"):
        Run(objective="rlvr", reward="prob")
    assert Run(objective="random_next_token", reward="prob").run_id != Run(objective="random_next_token").run_id


def answer(tokenizer, text, clipped=False):
    return Answer([5, 6], tokenizer(text)["input_ids"] + [1] * (not clipped), text, 0.1, clipped)


def test_the_target_takes_the_answers_place_behind_the_reasoning(tokenizer):
    branch, target = placed(answer(tokenizer, "the old town \\boxed{ Oslo }"), "Rome", "tiny", tokenizer)
    assert tokenizer.decode(branch).split() == ["the", "old", "town", "\\boxed{"]
    assert tokenizer.decode(target).split() == ["Rome"]
    branch, target = placed(answer(tokenizer, "the town \\boxed{ Oslo }"), "old Rome is", "tiny", tokenizer)
    assert tokenizer.decode(branch).split() == ["the", "town", "\\boxed{"]
    assert tokenizer.decode(target).split() == ["old", "Rome", "is"]
    thought = "<think> \\boxed{ Oslo } </think> town"
    for text, clipped in (("the old town", False), ("the \\boxed{ Oslo }", True), (thought, False)):
        assert placed(answer(tokenizer, text, clipped), "Rome", "tiny", tokenizer) is None


def test_a_token_across_the_brace_counts_as_the_targets():
    """A byte-level tokenizer that merges the brace with the digit after it, and a blank with the box's backslash."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {word: i for i, word in enumerate([*alphabet, "{5", "Ġ\\", "<eos>"])}
    tokens = Tokenizer(models.BPE(vocab, [("{", "5"), ("Ġ", "\\")]))
    tokens.pre_tokenizer, tokens.decoder = (
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        decoders.ByteLevel(),
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokens, eos_token="<eos>", pad_token="<eos>")
    sampled = Answer([1], tokenizer("it is \\boxed{7}")["input_ids"], "it is \\boxed{7}", 0.1, False)
    branch, target = placed(sampled, "5", "paper", tokenizer)
    assert tokenizer.decode(branch) == "it is \\boxed" and tokenizer.convert_ids_to_tokens(target) == ["{5"]


def test_numbers_are_those_of_one_sequence_read_alone(tiny_model, tokenizer):
    model = AutoModelForCausalLM.from_pretrained(tiny_model).eval()
    rng = random.Random(0)
    text, pairs = rng.choices(range(3, 40), k=9), [([], [7, 8]), ([4, 5, 6], [7, 8]), ([4], [9])]
    found = likelihoods(model, [(text, pairs), ([3, 4], []), ([5], [([6] * 30, [7, 7, 7])])])
    assert found[1] == [] and [len(own) for own in found[0]] == [2, 2, 1]
    for (branch, target), own in zip(pairs, found[0], strict=True):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([[*text, *branch, *target]])).logits[0].log_softmax(-1)
        at = len(text) + len(branch)
        assert own == pytest.approx([logits[at + i - 1, t].item() for i, t in enumerate(target)], abs=2e-5)


@pytest.mark.parametrize("reward", LIKELIHOODS)
def test_a_run_has_real_valued_rewards_and_says_who_was_right(tiny_model, home, reward):
    sizes = {"steps": 2, "max_completion_tokens": 8, "passages": 2, "name": reward, "min_tokens": 5}
    folder = train(Run(tier="smoke", objective="random_span", model=str(tiny_model), reward=reward, **sizes))
    episodes = folder.episodes()
    assert folder.state() == "complete" and set(episodes["verdict"]) <= {"right", "wrong", "no answer"}
    assert episodes["reward"].notna().all()
    assert (
        episodes["reward"].between(0, 1) if "prob" in reward and "log" not in reward else episodes["reward"] < 9
    ).all()
    assert folder.metrics()["predictor/accuracy"].between(0, 1).all()


def test_the_generator_is_rewarded_by_how_often_its_mask_is_found_not_by_likelihood(tokenizer):
    run = Run(tier="smoke", passages=1, group=2, span_words=1, reward="prob")
    passage = Passage("p", "", "Anna lives in Rome . Anna is five .", 8)
    game = run.method(run, [passage], tokenizer)

    def ask(texts):
        said = [
            ["\\mask{ Rome }"] * 2 if text.endswith("Mask :") else ["\\boxed{ Rome }", "\\boxed{ Oslo }"]
            for text in texts
        ]
        return [[answer(tokenizer, one) for one in own] for own in said]

    def read(questions, by):
        assert by == "likelihoods" and all(len(pairs) == 2 for _, pairs in questions)
        return [[[HALF], [FOURTH]] for _ in questions]

    (block,) = game.play([passage], ask, random.Random(0), read=read)
    assert [row.score for row in block.rows] == pytest.approx([0.5, 0.5, 0.5, 0.25, 0.5, 0.25])
    assert [row.episode["verdict"] for row in block.rows[2:4]] == ["right", "wrong"]
