"""RPT: where tokens end in bytes, what a prediction is, a block worked by hand, and runs that survive a stop."""

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from skilled import taught
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode

from pzlib.engine.generation import Answer
from pzlib.masking import Passage
from pzlib.objectives.likelihood import UNANSWERED
from pzlib.objectives.rpt import RPT, draw, predicted, rpt_prompt, rpt_reward, verdict
from pzlib.objectives.targets import frozen_scorer, pieces, target_at, token_offsets
from pzlib.run import Run
from pzlib.runs import callbacks
from pzlib.runs.episodes import summary
from pzlib.runs.folder import RunFolder
from pzlib.train import fitting, train

TEXT = "Anna lives in Rome near the old river ."
TIMES = ["seconds", "seconds_generation", "seconds_training", "seconds_evaluation"]


@pytest.fixture(scope="module")
def tokenizer(tiny_model):
    return AutoTokenizer.from_pretrained(tiny_model)


def byte_level():
    """A BPE tokenizer over bytes, as GPT-2's and Qwen's: characters of other scripts fall into several tokens.

    The last merge joins the last byte of one \u597d with the first of another: a token that ends inside a character.
    """
    merges = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("s", "i"), ("z", "e"), ("si", "ze"), ("Ġ", "size"), ("½", "å")]
    spelt = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *map("".join, merges)]
    inner = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(spelt)}, merges=merges))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return PreTrainedTokenizerFast(tokenizer_object=inner)


BPE, BYTE_OF = byte_level(), {char: byte for byte, char in bytes_to_unicode().items()}
PARTS = [*"the size charge grows é ß 好 😀 \u0301 .".split(), " ", "  ", "\n", "\n\t "]


def token_bytes(text):
    """The tokens of `text` as the tokenizer spells them, in bytes: independent of its offsets."""
    return [bytes(BYTE_OF[char] for char in token) for token in BPE.convert_ids_to_tokens(BPE(text)["input_ids"])]


@given(st.lists(st.sampled_from(PARTS), min_size=1).map("".join))
def test_boundaries_are_the_tokens_cumulative_bytes_where_text_can_reach_them(text):
    (_,), (offsets,) = token_offsets(BPE, [text])
    tokens = token_bytes(text)
    assert b"".join(tokens).decode() == text
    reachable = {len(text[:i].encode()) for i in range(len(text) + 1)}
    for place, (first, start, end) in enumerate(pieces(offsets)):
        target = target_at(text, offsets, place)
        before = sum(map(len, tokens[:first]))
        assert target.context + target.continuation == text and len(target.context.encode()) == before
        cumulative = {sum(map(len, tokens[first : i + 1])) for i in range(first, len(tokens))}
        assert target.boundaries == {length for length in cumulative if before + length in reachable}
        assert rpt_reward(target.token, target.continuation, target.boundaries) == 1.0
        assert (target.start, target.first, target.token) == (start, first, text[start:end])


def test_a_token_that_ends_inside_a_character_ends_no_prediction():
    (_,), (offsets,) = token_offsets(BPE, ["好好 the"])
    assert len(token_bytes("好好")) == 5 and pieces(offsets)[0] == (0, 0, 2)
    assert sorted(target_at("好好 the", offsets, 0).boundaries) == [6, 10]  # not 3, where one 好 ends


def test_a_character_in_several_tokens_is_one_target_and_spaces_are_kept():
    text = "size 好  grows "
    (_,), (offsets,) = token_offsets(BPE, [text])
    said = [text[start:end] for _, start, end in pieces(offsets)]
    assert "".join(said) == text and len(said) < len(offsets) and any("好" in piece for piece in said)
    assert said[-1] == " "  # a trailing space is a token, and can be asked for
    last = target_at(text, offsets, len(said) - 1)
    assert verdict("", predicted(r"\boxed{ }", "paper"), last) == "right" and last.context.endswith("grows")


def test_context_and_continuation_of_a_word_level_tokenizer_meet_before_the_space(tokenizer):
    (_,), (offsets,) = token_offsets(tokenizer, [TEXT])
    target = target_at(TEXT, offsets, 3)
    assert (target.context, target.token) == ("Anna lives in", " Rome")
    assert sorted(target.boundaries)[:3] == [5, 10, 14]  # " Rome", " near", " the"


@pytest.mark.parametrize(
    ("completion", "said", "why"),
    [
        ("\\boxed{ Rome }", " Rome", "right"),
        ("\\boxed{ Rome near }", " Rome near", "right"),
        ("<think> \\boxed{ Oslo } </think> \\boxed{ Rome }", " Rome", "right"),
        ("\\boxed{ Ro }", " Ro", "inside a token"),
        ("\\boxed{ Rome  }", " Rome ", "inside a token"),  # one space is the template's, the other its own
        ("\\boxed{Rome }", "Rome", "wrong"),
        ("\\boxed{ }", "", "wrong"),
        ("Rome", None, "no answer"),
        ("<think> so \\boxed{ Rome } and on and on", None, "thought not closed"),
        ("<think> a </think> <think> \\boxed{ Rome }", None, "thought not closed"),
        ("<think> \\boxed{ Rome } </think> so", None, "no answer"),
    ],
)
def test_predictions_and_verdicts(tokenizer, completion, said, why):
    (_,), (offsets,) = token_offsets(tokenizer, [TEXT])
    assert predicted(completion, "tiny") == said
    assert verdict(completion, said, target_at(TEXT, offsets, 3)) == why


@given(st.lists(st.integers(0, 50), unique=True), st.integers(0, 9), st.integers(0, 9))
def test_no_position_comes_twice_before_all_have_come(places, count, seed):
    drawn = draw(places, count, random.Random(seed))
    assert len(drawn) == (count if places else 0) and set(drawn) <= set(places)
    most = max(map(drawn.count, drawn), default=0)
    assert most <= (-(-count // len(places)) if places else 0)


NATS = {9: [math.inf, 9, 0.1, 2.0, 0.1, 0.1, 0.1, 0.1, 0.1], 3: [math.inf, 9, 0.1]}  # by length: " Rome" is left


def made_up(said, asked=None):
    """(ask, read): the completions `said` for every group; in the place of " Rome" every token has probability 1/4."""

    def ask(texts):
        if asked is not None:
            asked.extend(texts)
        return [[Answer([5, 5], [6, 1], text, 0.1, False) for text in said] for _ in texts]

    def read(ids, wanted=None):
        if wanted is None:
            return [NATS[len(tokens)] for tokens in ids]
        return [[0.25 * (NATS[9][place] == 2.0) for place, _ in places] for places in wanted]

    return ask, read


def blocks(tokenizer, said, passages=(TEXT,), asked=None, **settings):
    settings = {"group": len(said), "passages": 1, "min_context": 2, "filter": "none"} | settings
    run = Run(tier="smoke", objective="rpt", **settings)
    items = [Passage(f"p{i}", "", text, len(text.split())) for i, text in enumerate(passages)]
    ask, read = made_up(said, asked)
    return RPT(run, items, tokenizer).play(items, ask, random.Random(0), read=read)


SAID = ["\\boxed{ Rome }", "Rome", "\\boxed{ Rome Oslo }", "\\boxed{ Oslo }"]


def test_a_block_by_hand(tokenizer):
    asked = []
    (block,) = blocks(tokenizer, SAID, asked=asked)
    assert asked == ["Passage : Anna lives in [mask] Answer :"] * 4 and len(block.rows) == 16
    told = [row.episode for row in block.rows[:4]]
    assert [e["reward"] for e in told] == [1.0, 0.0, 0.0, 0.0]
    assert [e["verdict"] for e in told] == ["right", "no answer", "wrong", "wrong"]
    assert [e["advantage"] for e in told] == pytest.approx([0.75 / 0.5001] + 3 * [-0.25 / 0.5001])
    assert (told[0]["mask"], told[0]["prediction"], told[0]["kind"]) == (" Rome", " Rome", "name")
    assert told[0]["position"] == round(13 / len(TEXT), 4) and told[0]["passage_id"] == "p0"


def test_the_wording_is_the_runs(tokenizer):
    for version in ("v0", "v3"):
        asked = []
        blocks(tokenizer, SAID, asked=asked, template="paper", rpt_template=version)
        assert asked == [rpt_prompt("Anna lives in", "paper", version)] * 4


@pytest.mark.parametrize(
    ("rule", "rewards"),
    [
        ("prefix", [1.0, 0.0, 0.0, 0.0]),
        ("first_token", [1.0, 0.0, 1.0, 0.0]),  # what follows the first token is ignored
        ("dense", [1.0, 0.0, 1.0, 0.25]),  # without a prediction there is no token to have a probability
        ("conditional_dense", [1.0, 0.0, 1.0, 0.25]),
    ],
)
def test_the_rewards_of_a_group(tokenizer, rule, rewards):
    (block,) = blocks(tokenizer, SAID, rpt_reward=rule)
    assert [row.score for row in block.rows[:4]] == rewards
    assert [row.episode["verdict"] for row in block.rows[:4]] == ["right", "no answer", "wrong", "wrong"]


def test_a_true_token_is_paid_by_its_likelihood_in_the_box(tokenizer):
    """ln 1/2, 1/4, 1/8 behind the reasonings; the one that opens no box gets what such answers get."""
    run = Run(tier="smoke", objective="rpt", group=4, passages=1, min_context=2, reward="logprob")
    method, seen = RPT(run, [Passage("p", "", TEXT, 9)], tokenizer), []
    said = ["near \\boxed{ Oslo }", "Rome", "\\boxed{ Rome }", "the \\boxed{ Lima }"]
    ask, entropies = made_up(said)

    def tokenized(texts):
        return [[replace(a, ids=[*tokenizer(a.text)["input_ids"], 1]) for a in group] for group in ask(texts)]

    def read(what, by="read"):
        if by == "read":
            return entropies(what)
        seen.extend(what)
        return [[[math.log(2.0**-n)] for n in (1, 2, 3)] for _ in what]

    (block,) = method.play(method.items, tokenized, random.Random(0), read=read)
    assert [row.score for row in block.rows[:4]] == pytest.approx([-math.log(2), UNANSWERED, -2 * math.log(2),
                                                                   -3 * math.log(2)])  # fmt: skip
    assert [row.episode["verdict"] for row in block.rows[:4]] == ["wrong", "no answer", "right", "wrong"]
    branches = [[tokenizer.decode(ids) for ids in pair] for pair in seen[0][1]]
    assert branches == [["near \\boxed{", "Rome"], ["\\boxed{", "Rome"], ["the \\boxed{", "Rome"]]


def test_a_token_that_no_box_holds_is_not_asked_for_where_its_likelihood_is_the_reward(tokenizer):
    asked = {}
    for reward in ("exact", "logprob"):
        run = Run(tier="smoke", objective="rpt", group=2, passages=1, min_context=2, reward=reward, entropy_threshold=0)
        method, seen = RPT(run, [Passage("p", "", "Anna lives in } Rome", 5)], tokenizer), []
        ask, _ = made_up(["no", "box"], seen)
        read = lambda what, by="read": [[9.0] * len(x) for x in what] if by == "read" else [[] for _ in what]  # noqa: E731
        for seed in range(9):
            method.play(method.items, ask, random.Random(seed), read=read)
        asked[reward] = set(seen)
    hidden = "Passage : Anna lives in [mask] Answer :"
    assert hidden in asked["exact"] and asked["logprob"] == asked["exact"] - {hidden}


def test_a_group_without_a_hit_is_dense_in_one_scheme_only(tokenizer):
    said = ["\\boxed{ Oslo }", "\\boxed{ Lima }", "Oslo", "\\boxed{ }"]
    for rule, rewards in (("dense", [0.25, 0.25, 0.0, 0.0]), ("conditional_dense", [0.0] * 4)):
        (block,) = blocks(tokenizer, said, rpt_reward=rule)
        assert [row.score for row in block.rows[:4]] == rewards


def test_a_passage_without_a_position_keeps_its_place_and_is_counted(tokenizer):
    short = "Rome is old"
    played = blocks(tokenizer, SAID, passages=[short, TEXT])
    assert [row.episode for row in played[0].rows] == [None] * 16 and not any(r.in_loss for r in played[0].rows)
    assert all(row.episode for row in played[1].rows)
    episodes = [{"row": i, **row.episode} for i, row in enumerate(played[1].rows)]
    metrics = summary([(episodes, [1] * 16, 32, 0, 10)], group=4)
    assert metrics["fillers"] == 16 and metrics["rows"] == 32 and metrics["predictor/accuracy"] == 0.25
    assert metrics["verdict/no answer"] == 0.25 and metrics["predictor/parsed"] == 0.75


@pytest.mark.parametrize("settings", [{"entropy_threshold": 2.5}, {"min_context": 9}])
def test_a_threshold_or_a_context_that_leaves_no_position_is_refused_in_words(tokenizer, settings):
    with pytest.raises(ValueError, match="entropy_threshold: no token of 2 passages has . tokens before it and an"):
        blocks(tokenizer, SAID, passages=[TEXT, "Rome is old"], **settings)


def test_a_thought_that_never_closes_is_no_prediction_and_counted(tokenizer):
    (block,) = blocks(tokenizer, ["<think> \\boxed{ Rome } and", "\\boxed{ Rome }"], group=2)
    episodes = [{"row": i, **row.episode} for i, row in enumerate(block.rows)]
    metrics = summary([(episodes, [1] * 4, 4, 0, 10)], group=2)
    assert metrics["verdict/thought not closed"] == 0.5 and metrics["predictor/accuracy"] == 0.5


def test_a_proxy_of_another_tokenizer_or_a_wording_of_another_template_is_refused(tiny_model, tokenizer):
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    run = Run(tier="smoke", objective="rpt", model=str(tiny_model))
    assert frozen_scorer(run, model, tokenizer) is not model  # "base": a copy that stays as it is
    with pytest.raises(ValueError, match="entropy_model: 'data/tinybase_a' has another tokenizer"):
        frozen_scorer(Run(**run.to_dict() | {"entropy_model": "data/tinybase_a"}), model, tokenizer)
    with pytest.raises(ValueError, match="rpt_reward: 'dense' is of reward 'exact', not of 'prob'; leave one out"):
        Run(tier="smoke", objective="rpt", rpt_reward="dense", reward="prob")
    with pytest.raises(ValueError, match="rpt_template: 'v3' is of template 'paper'"):
        RPT(Run(tier="smoke", objective="rpt", rpt_template="v3"), [], tokenizer)


def test_prompts_too_long_are_measured_by_the_templates_own_length(tokenizer):
    passage = Passage("p", "", TEXT, 9)
    lengths = {}
    for version in ("v0", "v4"):
        run = Run(tier="smoke", objective="rpt", template="paper", rpt_template=version, max_prompt_tokens=1)
        with pytest.raises(ValueError, match="the shortest prompt of 1 has (.*) tokens") as error:
            fitting(run, [passage], tokenizer)
        lengths[version] = int(str(error.value).split(" has ")[1].split()[0])
    assert lengths["v4"] > lengths["v0"] > 9


def test_the_paper_tier_is_the_papers():
    run = Run(tier="paper", objective="rpt")
    assert (run.passages * run.groups_per_block, run.group, run.temperature, run.kl) == (256, 8, 0.8, 0.0)
    assert (run.learning_rate, run.weight_decay, run.max_grad_norm, run.entropy_bonus) == (1e-6, 0.01, 0.2, 0.0)
    assert (run.max_prompt_tokens, run.max_completion_tokens, run.steps) == (4096, 8192, 1000)
    assert (run.filter, run.dynamic_from, run.rpt_template, run.rpt_reward) == ("none", 500, "v0", "prefix")
    assert run.model.endswith("R1-Distill-Qwen-14B") and run.entropy_model.endswith("1.5B") and run.entropy_top == 16


@pytest.fixture(scope="module")
def skilled(tiny_model, tmp_path_factory):
    return taught(tiny_model, tmp_path_factory.mktemp("skilled"), steps=60)


@pytest.fixture
def settings(skilled):
    return {
        "tier": "smoke", "objective": "rpt", "model": str(skilled / "model"), "corpus": str(skilled / "corpus.jsonl"),
        "steps": 3, "min_tokens": 4, "min_context": 2, "max_prompt_tokens": 32, "max_completion_tokens": 8,
        "learning_rate": 1e-3, "save_every": 2, "eval_every": 1, "entropy_threshold": 0.1,
    }  # fmt: skip


def test_stopped_and_started_again_it_ends_bit_for_bit_as_if_never_stopped(settings):
    def evaluate(model, tokenizer, step):
        if step == 3 and not healed:
            raise RuntimeError("stop")
        return []

    whole, healed = train(Run(**settings, name="whole")), []
    with pytest.raises(RuntimeError, match="stop"):
        train(Run(**settings, name="stopped"), evaluate=evaluate)
    stopped = RunFolder(Run(**settings, name="stopped").folder)
    assert callbacks.latest_good(stopped.path / "checkpoints", "stopped")[1] == 2
    healed.append(True)
    done = train(Run(**settings, name="stopped"), evaluate=evaluate)
    ours, theirs = (folder.metrics().drop(columns=TIMES) for folder in (done, whole))
    assert ours.equals(theirs) and done.episodes().equals(whole.episodes())
    weights = [(folder.path / "model/model.safetensors").read_bytes() for folder in (done, whole)]
    assert weights[0] == weights[1] and ours["rows_trained"].sum() > 0
    assert (ours["fillers"] == 0).all() and ours["predictor/accuracy"].between(0, 1).all()


@pytest.mark.parametrize(
    "changes",
    [
        {"rpt_reward": "conditional_dense", "entropy_model": "policy"},
        {"filter": "none", "dynamic_from": 2},
        {"template": "paper", "rpt_template": "v6", "max_prompt_tokens": 200},
        {"reward": "avg_logprob"},
        {"reward": "prob", "answer_term": True, "filter": "none"},
        {"reward": "avg_prob", "debias": True, "std_filter": 0.5},
    ],
)
def test_every_variant_runs(settings, changes):
    folder = train(Run(**settings | {"steps": 2, "eval_every": 0} | changes))
    metrics = folder.metrics()
    assert len(metrics) == 2 and metrics["grad_norm"].notna().all()
    if "dynamic_from" in changes:
        assert metrics["refilled"][0] == 0


def test_a_step_of_passages_without_positions_moves_nothing_and_is_no_error(settings, skilled):
    corpus = skilled / "mixed.jsonl"
    long = (skilled / "corpus.jsonl").read_text().splitlines()[0]
    corpus.write_text(long + '\n{"id": "short", "title": "", "text": "Rome Oslo Lima ."}\n')
    run = Run(**settings | {"corpus": str(corpus), "passages": 1, "steps": 2, "min_context": 5, "eval_every": 0})
    metrics = train(run).metrics()
    assert sorted(metrics["fillers"]) == [0, run.rows_per_step]
    assert metrics.loc[metrics["fillers"] > 0, "grad_norm"].tolist() == [0.0]
