"""Rewards by likelihood: worked by hand, scored at the right tokens, real-valued in a real run."""

import math
import random

import pytest
import torch
from skilled import batches_of, passages, teach, whole_and_stopped
from test_train import compare, run  # noqa: F401  (run is a fixture)
from transformers import AutoModelForCausalLM, AutoTokenizer

from pzlib.engine.generation import Answer
from pzlib.engine.models import load
from pzlib.engine.packing import likelihoods
from pzlib.masking import Passage
from pzlib.objectives import likelihood
from pzlib.objectives.likelihood import (
    LIKELIHOODS,
    UNANSWERED,
    answer_weights,
    boxed,
    debiased,
    key_of,
    likelihood_rewards,
    placed,
)  # fmt: skip
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
    settings = Run(tier="smoke", passages=1, group=2, span_words=1, reward="prob")
    passage = Passage("p", "", "Anna lives in Rome . Anna is five .", 8)
    game = settings.method(settings, [passage], tokenizer)

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


def values_of(logps, reward):
    """The reward of each sample, or jepo's bound of the group, with gradients; written once more, from the papers."""
    sums = torch.stack([own.sum() for own in logps])
    return {
        "prob": lambda: sums.exp(), "avg_prob": lambda: torch.stack([own.exp().mean() for own in logps]),
        "logprob": lambda: sums, "avg_logprob": lambda: torch.stack([own.mean() for own in logps]),
        "jepo": lambda: (sums.exp().mean()).log()[None],
    }[reward]()  # fmt: skip


@pytest.mark.parametrize("reward", LIKELIHOODS)
def test_the_answers_own_weights_are_the_gradient_of_the_reward(reward):
    logps = [torch.tensor(own, requires_grad=True) for own in ([-1.0, -0.5], [-2.0, -0.1], [-0.3, -0.7])]
    values_of(logps, reward).sum().backward()
    found = answer_weights([own.tolist() for own in logps], reward, 2)
    for own, leaf in zip(found, logps, strict=True):
        assert own == pytest.approx(leaf.grad.tolist(), rel=1e-5)
    assert answer_weights([[-1.0], None], reward, 1)[1] == []


@pytest.fixture(scope="module")
def unsure(tiny_model, tmp_path_factory):
    """A model taught for so short a time that its reasonings differ, and that some of its answers never open."""
    return str(teach(tiny_model, tmp_path_factory.mktemp("unsure") / "model", steps=45))


def likely(make, reward, unsure, **changes):
    sizes = {"objective": "random_span", "span_words": 2, "passages": 2, "group": 4, "steps": 1, "filter": "none"}
    sizes["model"] = unsure
    return make(**sizes | {"reward": reward, "answer_term": True, "name": f"term-{reward}"} | changes)


@pytest.mark.parametrize("reward", LIKELIHOODS)
def test_the_loss_has_verifrees_gradient(run, unsure, reward):  # noqa: F811
    """A_i log p(reasoning) + R(target), each from one plain reading of a row, R with its gradient, in float64."""
    settings = likely(run, reward, unsure)
    trainer, (inputs,) = batches_of(settings)
    episodes = trainer.method.folder.episodes()
    assert (episodes["advantage"].abs() > 1e-3).any() and episodes["verdict"].eq("no answer").any()
    start = load(settings)[0].state_dict()
    trainer.model.load_state_dict(start)
    model, tokenizer = trainer.model.train().double(), trainer.processing_class
    trainer.current_gradient_accumulation_steps = 1
    exact = {k: v.double() if v.is_floating_point() else v for k, v in inputs.items()}

    def gradient(loss):
        model.zero_grad()
        loss().backward()
        return torch.cat([p.grad.flatten() for p in model.parameters()])

    ours = gradient(lambda: trainer.compute_loss(model, exact))
    trainer.drop_rows = False
    assert torch.allclose(gradient(lambda: trainer.compute_loss(model, exact)), ours, atol=1e-6 * ours.norm())
    rows = {}  # the rows by what they hold: TRL has shuffled them
    for ids, mask, done, kept in zip(
        *(inputs[name].tolist() for name in ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask")),
        strict=True,
    ):
        prompt, own = ([i for i, m in zip(*pair, strict=True) if m] for pair in ((ids, mask), (done, kept)))
        rows.setdefault(tokenizer.decode(prompt), []).append((prompt, own))

    def direct():
        total = 0.0
        for (_, prompt), own in episodes.groupby(["group_index", "prompt"], sort=False):
            target = tokenizer(own["mask"].iloc[0])["input_ids"]
            logps, before = [], []
            group = rows[prompt]
            assert len(group) == 4
            for ids, done in group:
                out = model(input_ids=torch.tensor([ids + done])).logits[0].log_softmax(-1)
                each = torch.stack([out[len(ids) + i - 1, t] for i, t in enumerate(done)])
                answered = done[-len(target) :] == target
                logps.append(each[-len(target) :] if answered else None)
                before.append(each[: -len(target)].sum() if answered else each.sum())
            there = [own for own in logps if own is not None]
            filled = [torch.full((len(target),), UNANSWERED).double() if own is None else own for own in logps]
            if reward == "jepo":
                whole = values_of(filled, reward)
                advantages = [
                    (whole - values_of(filled[:i] + filled[i + 1 :], reward)).detach() for i in range(len(filled))
                ]
                total = total + whole.sum()
            else:
                r = values_of(filled, reward).detach()
                advantages = [r[i] - (r.sum() - r[i]) / (len(r) - 1) for i in range(len(r))]
                total = total + (values_of(there, reward).sum() if there else 0.0)
            total = total + sum(a * z for a, z in zip(advantages, before, strict=True)).sum()
        return -total / inputs["num_items_in_batch"]

    wanted = gradient(direct)
    assert wanted.norm() > 0 and (ours - wanted).norm() < 2e-5 * wanted.norm()


@pytest.mark.slow
def test_dead_groups_vanish_so_that_the_filter_has_nothing_to_drop(home):
    """On the small base: the same masks, paid by being right and by likelihood. Equal reasonings stay a dead group."""
    found = {}
    for reward in ("exact", "logprob"):
        sizes = {"steps": 1, "passages": 2, "group": 8, "name": reward}
        found[reward] = train(Run(tier="smoke", objective="random_span", reward=reward, **sizes)).metrics().iloc[0]
    exact, likely = found["exact"], found["logprob"]
    assert exact["predictor/dead_groups"] > 0.3 and exact["rows_trained"] < 0.7 * exact["rows"]
    assert likely["predictor/dead_groups"] <= 1 / 16 and likely["rows_trained"] >= 15 / 16 * likely["rows"]


def test_a_learned_row_ends_with_the_target_in_the_place_of_its_answer(tokenizer):
    sizes = {"tier": "smoke", "objective": "random_span", "passages": 1, "group": 2, "span_words": 1}
    settings = Run(**sizes, reward="prob", answer_term=True, filter="none")
    passage = Passage("p", "", "Anna lives in Rome .", 5)
    method = settings.method(settings, [passage], tokenizer)

    def ask(texts):
        return [[answer(tokenizer, "the old \\boxed{ Oslo }"), answer(tokenizer, "the town")] for _ in texts]

    (block,) = method.play([passage], ask, random.Random(0), read=lambda questions, by: [[[HALF]] for _ in questions])
    first, second = block.rows[:2]
    word = first.episode["mask"]
    assert tokenizer.decode(first.completion_ids).split() == ["the", "old", "\\boxed{", word]
    assert (first.episode["completion"], first.episode["reward"]) == ("the old \\boxed{ Oslo }", pytest.approx(0.5))
    # leave-one-out: a half more than the other, whose answer never opens; then the answer's own probability
    assert method.learned[key_of(first.prompt_ids, first.completion_ids)] == pytest.approx([0.5] * 3 + [0.5], abs=1e-5)
    assert method.learned[key_of(second.prompt_ids, second.completion_ids)] == pytest.approx([-0.5] * 3, abs=1e-5)
    assert first.episode["advantage"] == pytest.approx(0.5, abs=1e-5)


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"reward": "exact"}, "answer_term: belongs to rewards by likelihood; set reward to one of prob, avg_prob"),
        ({"filter": "drop"}, "filter: with answer_term groups of equal rewards would leave the loss; set filter to no"),
        ({"dynamic_from": 3}, "dynamic_from: with answer_term groups of equal rewards would be replaced; set dyn"),
        ({"loss": "gspo"}, "loss: with answer_term gspo is no sum over tokens, so no row drops out; set loss to dapo"),
        ({"updates_per_batch": 2}, "updates_per_batch: with answer_term a target was not sampled, .* set .* to 1"),
        ({"use_vllm": True}, "use_vllm: with answer_term a target was not sampled"),
        ({"temperature": 0.7}, "temperature: with answer_term the loss would read a target at another one"),
        ({"kl": 0.1}, "kl: with answer_term a target was not sampled, so a KL term says nothing"),
        ({"entropy_bonus": 0.1}, "entropy_bonus: with answer_term"),
        ({"objective": "pretrainzero", "generator_weight": 0.5}, "generator_weight: with answer_term advantages are"),
        ({"debias": True}, "debias: with answer_term one is VeriFree's, the other RLPR's; set debias to False"),
    ],
)
def test_where_a_term_on_the_answer_has_no_exact_place_it_is_refused_in_words(settings, said):
    base = {"tier": "smoke", "objective": "random_span", "reward": "prob", "answer_term": True, "filter": "none"}
    with pytest.raises(ValueError, match=said):
        Run(**base | settings)


def test_rlprs_settings_belong_to_its_rewards():
    for settings, said in (
        ({"debias": True}, "debias: belongs to rewards by likelihood"),
        ({"std_filter": 0.5, "objective": "rlvr"}, "std_filter: belongs to rewards by likelihood"),
        ({"debias": True, "reward": "logprob"}, "debias: RLPR's is of a probability, not of logprob; set reward to av"),
        ({"std_filter": 1.5, "reward": "prob"}, "std_filter: must be below 1"),
    ):
        with pytest.raises(ValueError, match=said):
            Run(**{"tier": "smoke", "objective": "random_span"} | settings)
    plain = Run(objective="random_span", reward="avg_prob")
    assert plain.run_id == Run(objective="random_span", reward="avg_prob", std_filter=0.0, debias=False).run_id


def test_a_span_that_no_box_gives_back_is_refused():
    for span in ("C}_{k", "a{b"):
        with pytest.raises(ValueError, match="span: .* cannot be read back from a box; give one with balanced braces"):
            boxed(span, "paper")


def test_debiased_rewards_count_what_the_reasoning_added(tokenizer):
    sizes = {"tier": "smoke", "objective": "random_span", "passages": 1, "group": 2, "span_words": 1}
    settings = Run(**sizes, reward="avg_prob", debias=True)
    passage = Passage("p", "", "Anna lives in Rome .", 5)
    method, seen = settings.method(settings, [passage], tokenizer), []

    def ask(texts):
        return [[answer(tokenizer, "the old \\boxed{ Oslo }"), answer(tokenizer, "the town")] for _ in texts]

    def read(questions, by):
        seen.append((by, questions[0]))
        return [[[FOURTH if by == "unreasoned" else HALF]] for _ in questions]

    (block,) = method.play([passage], ask, random.Random(0), read=read)
    assert [row.episode["reward"] for row in block.rows[:2]] == pytest.approx([0.9 * 0.25 + 0.1, 0.0])
    (prompt, [(branch, target)]) = next(question for by, question in seen if by == "unreasoned")
    assert (prompt, tokenizer.decode(branch)) == ([5, 6], "\\boxed{") and len(target) == 1
    assert debiased(0.5, 0.75, True) == pytest.approx(0.1)


def test_the_start_is_read_where_rewards_are_debiased_and_is_not_trained(run, unsure):  # noqa: F811
    settings = likely(run, "avg_prob", unsure, answer_term=False, debias=True, steps=2, filter="drop", name="rlpr")
    trainer, _ = batches_of(settings)
    before = load(settings)[0].state_dict()
    assert all(torch.equal(w, before[n]) for n, w in trainer.method.start.state_dict().items())
    assert not all(torch.equal(w, before[n]) for n, w in trainer.model.state_dict().items())
    assert trainer.method.folder.episodes()["reward"].between(0, 1).all()
    assert settings.method.frozen(settings) == {"start": None}  # which `plan` counts
    asked = [([5, 6], [([7], [8, 9])])]
    told = [trainer.method.unreasoned(asked, trainer.model), likelihoods(load(settings)[0], asked)]
    assert told[0] == told[1] != likelihoods(trainer.model, asked)


def stepped(method, step, rewards):
    """The rows of one step whose groups have these rewards, and what the method measures of them."""
    passage = method.items[0]
    groups = iter(rewards)

    def read(questions, by):
        return [[[math.log(value)] for value in next(groups)] for _ in questions]

    def ask(texts):
        return [[answer(method.tokenizer, "the \\boxed{ Oslo }")] * 2 for _ in texts]

    (block,) = method.play([passage], ask, random.Random(step), step=step, read=read)
    return block.rows, method.measures([row.episode for row in block.rows])


def test_groups_of_little_spread_leave_the_loss_from_the_eleventh_step_on(tokenizer):
    sizes = {"tier": "smoke", "objective": "random_span", "passages": 1, "group": 2, "span_words": 1}
    settings = Run(**sizes, reward="prob", std_filter=0.5)
    method = settings.method(settings, [Passage("p", "", "Anna lives in Rome .", 5)], tokenizer)
    wide, narrow = [0.2, 0.6], [0.4, 0.42]
    root = math.sqrt(2)  # the std of two values is their distance over it
    rows, found = stepped(method, 1, [wide, narrow])
    first = (0.4 + 0.02) / 2 / root
    assert found["predictor/reward_std"] == pytest.approx(first) and method.spread.average == pytest.approx(first)
    assert all(row.in_loss for row in rows) and found["predictor/filtered_by_std"] == 0
    rows, found = stepped(method, 10, [wide, wide])
    assert method.spread.average == pytest.approx(0.99 * first + 0.01 * 0.4 / root)
    assert all(row.in_loss for row in rows)
    rows, found = stepped(method, 11, [wide, narrow])
    assert [row.in_loss for row in rows] == [True, True, False, False] and rows[2].score is None
    assert [row.episode["reward"] for row in rows[2:]] == pytest.approx(narrow), "what was rewarded is still told"
    assert found["predictor/filtered_by_std"] == 0.5


@pytest.mark.slow
def test_a_run_that_filters_by_std_goes_on_bit_for_bit(run, unsure, monkeypatch):  # noqa: F811
    monkeypatch.setattr(likelihood, "FILTERED_FROM", 2)
    settings = {"answer_term": False, "std_filter": 0.9, "steps": 4, "save_every": 2, "eval_every": 1}
    whole, resumed = whole_and_stopped(lambda name: likely(run, "prob", unsure, **settings, name=name), step=3)
    compare(whole, resumed)
    assert whole.metrics()["predictor/filtered_by_std"].max() > 0


def test_a_reward_reads_no_more_than_prompt_and_completion_once(run, unsure):  # noqa: F811
    """Tokens and calls of the model while a step's answers are scored, against one plain forward over its rows."""
    settings = likely(run, "logprob", unsure, answer_term=False, name="cost", passages=2, group=8)
    model, tokenizer = load(settings)
    method, read = settings.method(settings, passages(4), tokenizer, model=model), []
    model.register_forward_pre_hook(lambda _, args, kwargs: read.append(kwargs["input_ids"].numel()), with_kwargs=True)

    def ask(texts):
        said = ["Rome is old \\boxed{ Oslo }", "\\boxed{ Oslo }", "no box"] * 3
        return [[Answer(tokenizer(t)["input_ids"], tokenizer(s)["input_ids"] + [1], s, 0.1, False) for s in said[:8]]
                for t in texts]  # fmt: skip

    def reading(questions, by):
        return getattr(method, by)(questions, policy=model)

    played = method.play(method.items[:2], ask, random.Random(0), read=reading)
    rows = [row for block in played for row in block.rows]
    once = sum(len(row.prompt_ids) + len(row.completion_ids) for row in rows)
    assert 0 < sum(read) <= once and len(read) <= len(rows)
    assert len({row.score for row in rows}) > 2
