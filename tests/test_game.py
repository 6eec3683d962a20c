"""The game by hand: one block worked on paper, its layout, the filters, and what is refused."""

import itertools
import json
import math
import random
import zlib
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ranks import together
from skilled import passages
from transformers import AutoTokenizer

from pzlib.engine.generation import Answer
from pzlib.game import blocks
from pzlib.masking import Passage
from pzlib.rewards import group_advantages
from pzlib.run import Run

PASSAGE = Passage("p", "", "Anna lives in Rome . Anna is five .", 9)
SMALL = {"tier": "smoke", "group": 2, "passages": 1, "steps": 2, "max_prompt_tokens": 20, "filter": "none"}


@pytest.fixture(scope="module")
def tokenizer(tiny_model):
    return AutoTokenizer.from_pretrained(tiny_model)


def answers_to(script, tokenizer):
    """An `ask` that looks each prompt's answers up in a script."""

    def ask(texts):
        return [
            [
                Answer(tokenizer(text)["input_ids"], tokenizer(said)["input_ids"] + [1], said, 0.5, False)
                for said in script[text]
            ]
            for text in texts
        ]

    return ask


# By hand, G = 2. Mask "Rome": one of two predictions right, accuracy 1/2, generator reward 1 - 1/2. Mask
# "Kyiv" is not in the passage: reward 0, and two fillers keep its place. Advantages: (1/2 - 1/4) / (std +
# 1e-4), std = 1/4 * sqrt 2.
BY_HAND = {
    "Passage : Anna lives in Rome . Anna is five . Mask :": ["\\mask{ Rome }", "\\mask{ Kyiv }"],
    "Passage : Anna lives in [mask] . Anna is five . Answer :": ["\\boxed{ Rome }", "\\boxed{ Oslo }"],
}


def play(script, tokenizer, passage=PASSAGE, **changes):
    run = Run(**SMALL | changes)
    game = run.method(run, [passage], tokenizer)
    return game.play([passage], answers_to(script, tokenizer), random.Random(0))[0]


def test_a_block_worked_by_hand(tokenizer):
    rows = play(BY_HAND, tokenizer).rows
    assert len(rows) == 2 * (1 + 2)
    assert [row.episode and row.episode["role"] for row in rows] == ["generator"] * 2 + ["predictor"] * 2 + [
        None
    ] * 2
    assert [row.score for row in rows] == [0.5, 0.0, 1.0, 0.0, None, None]
    assert [row.in_loss for row in rows] == [True] * 4 + [False] * 2
    assert [len(row.completion_ids) for row in rows[4:]] == [1, 1]
    a = 0.25 / (0.25 * 2**0.5 + 1e-4)
    b = 0.5 / (0.5 * 2**0.5 + 1e-4)
    assert [row.episode["advantage"] for row in rows[:4]] == pytest.approx([a, -a, b, -b])
    first, second, right = (rows[i].episode for i in range(3))
    assert (first["mask"], first["legal"], first["count"], first["kind"]) == ("Rome", True, 1, "name")
    assert (second["mask"], second["legal"], second["count"], second["kind"]) == ("Kyiv", False, None, None)
    assert (right["prediction"].strip(), right["reward"], right["group_index"]) == ("Rome", 1.0, 0)


@pytest.mark.parametrize("accuracy, reward", [(0, 0.0), (1, 0.5), (2, 0.0)])
def test_the_zero_rule(tokenizer, accuracy, reward):
    said = ["\\boxed{ Rome }"] * accuracy + ["no box"] * (2 - accuracy)
    script = BY_HAND | {"Passage : Anna lives in [mask] . Anna is five . Answer :": said}
    assert play(script, tokenizer).rows[0].score == reward


def test_a_mask_that_makes_the_prompt_too_long_is_illegal(tokenizer):
    long = BY_HAND | {"Passage : Anna lives in [mask] . Anna is five . Answer :": None}
    (masked, *_) = [prompt for prompt in BY_HAND if "[mask]" in prompt]
    longest = len(tokenizer(masked)["input_ids"])
    block = play(long, tokenizer, max_prompt_tokens=longest - 1)
    assert [row.score for row in block.rows] == [0.0, 0.0, None, None, None, None]
    assert block.rows[0].episode["legal"] is False
    assert play(BY_HAND, tokenizer, max_prompt_tokens=longest).rows[0].episode["legal"]


@pytest.mark.parametrize(
    "changes, shown",
    [
        ({}, "[mask] lives in Rome . [mask] is five ."),
        ({"mask_rule": "one"}, "Anna lives in Rome . [mask] is five ."),
        ({"max_occurrences": 1}, None),
    ],
)
def test_the_runs_rule_and_most_occurrences_decide_what_a_mask_hides(tokenizer, changes, shown):
    script = {f"Passage : {PASSAGE.text} Mask :": ["\\mask{ Anna }", "Anna"]}
    script[f"Passage : {shown} Answer :"] = ["\\boxed{ Anna }", "no box"]
    rows = play(script, tokenizer, **changes).rows
    assert [row.score for row in rows] == ([0.5, 0.0, 1.0, 0.0, None, None] if shown else [0.0] * 2 + [None] * 4)


def test_passive_spans_fill_a_block_of_predictions_alone(tokenizer):
    class Any(dict):
        def __missing__(self, text):
            return ["\\boxed{ Rome }", "\\boxed{ Anna }"]

    block = play(Any(), tokenizer, objective="random_span", span_words=1)
    assert len(block.rows) == 2 * 2 and {row.episode["role"] for row in block.rows} == {"predictor"}
    assert [row.episode["group_index"] for row in block.rows] == [0, 0, 1, 1]
    assert all(row.episode["mask"] in PASSAGE.text for row in block.rows)


def test_random_spans_have_up_to_the_runs_words(tokenizer):
    class Any(dict):
        def __missing__(self, text):
            return ["no box"] * 16

    for most in (1, 3):
        block = play(Any(), tokenizer, objective="random_span", span_words=most, group=16)
        words = {len(row.episode["mask"].replace(".", "").split()) for row in block.rows}
        assert words == set(range(1, most + 1))


def rollout(script, tokenizer, run, passages, folder=None, prompts=None, step=0, rank=0):
    game = run.method(run, passages, tokenizer, folder)
    game.ask = lambda texts, trainer, generator: answers_to(script, tokenizer)(texts)
    trainer = SimpleNamespace(
        state=SimpleNamespace(global_step=step), accelerator=SimpleNamespace(process_index=rank), use_vllm=False
    )
    size = run.groups_per_block * run.group
    return game, game.rollout(prompts or [p.id for p in passages for _ in range(size)], trainer)


def test_which_answers_reason_goes_by_what_opens_the_methods_own(tokenizer, monkeypatch):
    class Any(dict):
        def __missing__(self, text):
            return ["\\boxed{ Rome }", "Anna lives in Rome"]

    run = Run(**SMALL | {"objective": "random_span"})
    game, _ = rollout(Any(), tokenizer, run, [PASSAGE])
    # four tokens and five, with the one that ends them
    assert (game.metrics["predictor/length"], game.metrics["predictor/length_reasoned"]) == (4.5, 5)
    monkeypatch.setattr(run.method, "opening", "Anna")
    game, _ = rollout(Any(), tokenizer, run, [PASSAGE])
    assert (game.metrics["predictor/length"], game.metrics["predictor/length_reasoned"]) == (4.5, 4)


def test_rollout_gives_trl_one_entry_per_row_and_one_score_per_role(tokenizer):
    game, out = rollout(BY_HAND, tokenizer, Run(**SMALL), [PASSAGE])
    assert {len(v) for v in out.values() if v is not None} == {6} and out["logprobs"] is None
    assert out["generator_score"] == [0.5, 0.0, None, None, None, None]
    assert out["predictor_score"] == [None, None, 1.0, 0.0, None, None]
    assert [sum(m) for m in out["env_mask"]] == [len(c) for c in out["completion_ids"][:4]] + [0, 0]
    predictor, generator = game.reward_funcs()
    assert predictor(None, **out) is out["predictor_score"]
    assert generator(None, **out) is out["generator_score"]
    m = game.metrics
    assert (m["rows"], m["rows_trained"], m["generator/legal"], m["predictor/accuracy"]) == (6, 4, 0.5, 0.5)
    assert (m["predictor/dead_groups"], m["generator/dead_groups"], m["mask/name"], m["mask/words"]) == (
        0,
        0,
        1.0,
        1.0,
    )
    assert m["predictor/loss_token_share"] + m["generator/loss_token_share"] == 1


def test_the_filter_takes_dead_groups_out_of_the_loss_but_keeps_their_rewards(tokenizer):
    solved = BY_HAND | {"Passage : Anna lives in [mask] . Anna is five . Answer :": ["\\boxed{ Rome }"] * 2}
    for filter, kept in (("none", 4), ("drop", 0)):
        game, out = rollout(solved, tokenizer, Run(**SMALL | {"filter": filter}), [PASSAGE])
        assert sum(map(any, out["env_mask"])) == kept, (
            "reward 0 for accuracy 1, and 0 for the illegal mask: both dead"
        )
        assert game.metrics["predictor/reward"] == 1 and game.metrics["predictor/dead_groups"] == 1
        assert game.metrics["rows_trained"] == 0 and game.metrics["generator/loss_token_share"] is None


def test_dynamic_sampling_begins_at_its_step_whatever_the_filter(tokenizer):
    solved = BY_HAND | {"Passage : Anna lives in [mask] . Anna is five . Answer :": ["\\boxed{ Rome }"] * 2}
    for filter, before in (("none", 4), ("drop", 0)):
        run = Run(**SMALL | {"filter": filter, "dynamic_from": 2})
        seen = [rollout(solved, tokenizer, run, [PASSAGE], step=step)[1]["env_mask"] for step in range(3)]
        assert [sum(map(any, masks)) for masks in seen] == [before, 0, 0]


def test_refill_plays_other_passages_where_a_block_is_dead(tokenizer):
    other = Passage("q", "", "Dora has two cats .", 5)
    script = {
        "Passage : Dora has two cats . Mask :": ["\\mask{ two }", "\\mask{ Dora }"],
        "Passage : Dora has [mask] cats . Answer :": ["\\boxed{ two }", "\\boxed{ five }"],
        "Passage : [mask] has two cats . Answer :": ["\\boxed{ Dora }", "\\boxed{ Dora }"],
    }
    dead = {"Passage : Anna lives in Rome . Anna is five . Mask :": ["Rome", "Rome"]}
    run = Run(**SMALL | {"filter": "refill"})
    size = run.groups_per_block * run.group
    seen = set()
    for step in range(8):
        game, out = rollout(script | dead, tokenizer, run, [PASSAGE, other], prompts=["p"] * size, step=step)
        assert len(out["prompt_ids"]) == size
        live = game.metrics["refilled"] == 1
        seen.add(live)
        assert any(map(any, out["env_mask"])) == live
        again, _ = rollout(script | dead, tokenizer, run, [PASSAGE, other], prompts=["p"] * size, step=step)
        assert again.metrics["refilled"] == game.metrics["refilled"], (
            "a function of seed, step and attempt alone"
        )
    assert True in seen


def test_without_a_generator_single_groups_are_refilled(tokenizer):
    """Of two groups one lives and one is dead: the dead one alone is replaced, by a living one of the other passage."""
    first = Passage("p", "", "Anna lives", 2)
    other = Passage("q", "", "Dora has", 2)
    right = {"Anna": ["Anna", "Dora"], "lives": ["Dora", "Dora"], "Dora": ["Dora", "Anna"], "has": ["Anna", "Anna"]}
    script = {}
    for passage in (first, other):
        for word in passage.text.split():
            prompt = f"Passage : {passage.text.replace(word, '[mask]')} Answer :"
            script[prompt] = [f"\\boxed{{ {answer} }}" for answer in right[word]]
    run = Run(**SMALL | {"objective": "random_span", "span_words": 1, "filter": "refill"})
    size = run.groups_per_block * run.group
    seen, kept = set(), []
    folder = SimpleNamespace(write_episodes=lambda step, rank, episodes: kept.append(episodes))
    for step in range(12):
        game, out = rollout(script, tokenizer, run, [first, other], folder, ["p"] * size, step)
        alive = [any(out["env_mask"][i]) for i in range(0, size, run.group)]
        seen.add((game.metrics["refilled"], sum(alive)))
        assert len(out["prompt_ids"]) == size and sum(alive) >= game.metrics["refilled"]
        assert [(e["row"], e["block"], e["group_index"]) for e in kept[-1]] == [(i, 0, i // 2) for i in range(size)]
    assert (1, 2) in seen  # a block with one living group was not left with one


def test_a_cut_block_is_refused_in_words(tokenizer):
    run = Run(**SMALL)
    for prompts in (["p"] * 4, ["p"] * 3 + ["q"] * 3):
        with pytest.raises(ValueError, match="passages: .* are not whole blocks of 6"):
            rollout(BY_HAND, tokenizer, run, [PASSAGE], prompts=prompts)


def test_blocks_shuffle_each_epoch_anew_and_by_seed():
    passages = [Passage(f"p{i}", "", "x", 1) for i in range(5)]
    run = Run(**SMALL | {"steps": 10})
    order = blocks(passages, run)["prompt"][:: run.groups_per_block]
    assert len(order) == 10 and sorted(order[:5]) == sorted(order[5:]) == [p.id for p in passages]
    assert (
        order[:5] != order[5:]
        and order != blocks(passages, Run(**SMALL | {"steps": 10, "seed": 1}))["prompt"][::3]
    )
    with pytest.raises(ValueError, match="id: 'p0' names several passages"):
        blocks([passages[0]] * 2, run)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.lists(st.sampled_from(["Rome", "Anna", "Kyiv", "five . Anna", ""]), min_size=2, max_size=2),
        min_size=1,
        max_size=3,
    ),
    st.integers(0, 2**16),
)
def test_whatever_is_asked_rows_scores_and_advantages_agree(tiny_model, spans, seed):
    tokenizer, rng = AutoTokenizer.from_pretrained(tiny_model), random.Random(seed)

    class Script(dict):
        def __missing__(self, text):
            return [f"\\boxed{{ {rng.choice(['Rome', 'Anna', 'five'])} }}" for _ in range(2)]

    passages = [
        Passage(f"{i}", "", f"Anna lives in Rome . Anna is five . {'a ' * i}", 9) for i in range(len(spans))
    ]
    script = Script(
        {
            f"Passage : {p.text} Mask :": [f"\\mask{{ {s} }}" for s in pair]
            for p, pair in zip(passages, spans, strict=True)
        }
    )
    for filter in ("none", "drop"):
        game, out = rollout(
            script, tokenizer, Run(**SMALL | {"filter": filter, "max_prompt_tokens": 64}), passages
        )
        scores = [
            p if p is not None else g
            for p, g in zip(out["predictor_score"], out["generator_score"], strict=True)
        ]
        assert len(scores) == 6 * len(spans) and game.metrics["rows"] == len(scores)
        moving = sum(a != 0 for a in group_advantages(scores, 2))
        assert moving == game.metrics["rows_trained"]
        assert all(any(mask) or score is None for mask, score in zip(out["env_mask"], scores, strict=True))


@pytest.mark.parametrize(
    "rule, right, nothing_right, illegal",
    [("zero_rule", 0.5, 0.0, 0.0), ("no_zero_rule", 0.5, 1.0, 1.0), ("negative_accuracy", -0.5, 0.0, 0.0),
     ("learnability", 0.5, 0.0, 0.0), ("spice", 1.0, math.exp(-3.125), math.exp(-3.125))],
)  # fmt: skip
def test_an_illegal_mask_is_paid_as_one_that_nobody_predicts(tokenizer, rule, right, nothing_right, illegal):
    rows = play(BY_HAND, tokenizer, generator_reward=rule).rows
    assert [row.score for row in rows[:2]] == pytest.approx([right, illegal])
    missed = BY_HAND | {"Passage : Anna lives in [mask] . Anna is five . Answer :": ["no box"] * 2}
    assert play(missed, tokenizer, generator_reward=rule).rows[0].score == pytest.approx(nothing_right)


def test_the_generator_can_be_trained_at_some_steps_or_never(tokenizer):
    for every, moving in ((1, [1, 1, 1, 1]), (2, [0, 1, 0, 1]), (0, [0, 0, 0, 0])):
        run = Run(**SMALL | {"generator_every": every})
        seen = [rollout(BY_HAND, tokenizer, run, [PASSAGE], step=step) for step in range(4)]
        assert [int(any(out["env_mask"][0])) for _, out in seen] == moving
        assert all(any(out["env_mask"][2]) for _, out in seen)  # the predictor always is
        assert [game.metrics["rows_trained"] for game, _ in seen] == [2 + 2 * trained for trained in moving]


def test_random_spans_first_leave_the_generators_rows_empty(tokenizer):
    class Any(dict):
        def __missing__(self, text):
            return ["\\boxed{ Rome }", "\\boxed{ Anna }"]

    run = Run(**SMALL | {"random_span_steps": 1})
    game, out = rollout(Any(), tokenizer, run, [PASSAGE], step=0)
    assert out["generator_score"] == [None] * 6 and None not in out["predictor_score"][2:]
    assert sum(map(sum, out["env_mask"][:2])) == 0 and "generator/reward" not in game.metrics
    assert rollout(BY_HAND, tokenizer, run, [PASSAGE], step=1)[1]["generator_score"][:2] == [0.5, 0.0]


def test_accuracy_by_kind_and_hits_count_each_legal_mask_once(tokenizer):
    m = rollout(BY_HAND, tokenizer, Run(**SMALL), [PASSAGE])[0].metrics
    assert (m["accuracy/name"], m["hits/0"], m["hits/1"], m["hits/2"]) == (0.5, 0.0, 1.0, 0.0)
    assert m["mask/position"] == pytest.approx(PASSAGE.text.index("Rome") / len(PASSAGE.text), abs=1e-4)
    assert (m["predictor/dead_wrong"], m["predictor/dead_right"]) == (0.0, 0.0)


@pytest.mark.parametrize("changes", [{"filter": "refill"}, {"objective": "random_span", "span_words": 2}])
def test_two_processes_play_what_one_does(tokenizer, monkeypatch, changes):
    """Draws, rewards and metrics; of refilled blocks those that teach, for each process replaces its own dead ones."""
    items = [Passage(f"{i}", "", f"{p.text} {p.text}", 2 * p.length) for i, p in enumerate(passages(6, words=4))]
    run = Run(**SMALL | {"mask_rule": "one", "passages": 4, "max_prompt_tokens": 64} | changes)

    class Script(dict):
        def __missing__(self, text):
            """A mask that is there, and an answer that is right or not, both by chance that only the text decides."""
            chance, words = random.Random(zlib.crc32(text.encode())), items[0].text.split()
            if text.endswith("Mask :"):
                words = [text.split()[2 + chance.randrange(4)] for _ in range(2)]
            command = "mask" if text.endswith("Mask :") else "boxed"
            return [f"\\{command}{{ {chance.choice(words)} }}" for _ in range(2)]

    def played(count, step):
        def part(rank):
            kept = []
            folder = SimpleNamespace(write_episodes=lambda step, rank, episodes: kept.extend(episodes))
            size, share = run.groups_per_block * run.group, 4 // count
            turned = items[step:] + items[:step]  # so that every place of a step has its dead blocks
            own = [p.id for p in turned[rank * share : (rank + 1) * share] for _ in range(size)]
            game, out = rollout(Script(), tokenizer, run, items, folder, own, step, rank)
            return kept, {k: v for k, v in game.metrics.items() if k != "seconds_generation"}

        episodes, metrics = zip(*together(count, part, monkeypatch), strict=True)
        assert all(own == metrics[0] for own in metrics)  # every process counts those of all
        episodes = list(itertools.chain(*episodes))
        assert all(e["block"] == e["row"] // (run.groups_per_block * run.group) for e in episodes)
        return episodes, metrics[0]

    refilled = []
    for step in range(6):
        (one, ours), (two, theirs) = played(1, step), played(2, step)
        assert ours["refilled"] == theirs["refilled"] and ours["rows_trained"] == theirs["rows_trained"]
        refilled.append(ours["refilled"])
        if "filter" in changes:
            one, two = ([e | {"row": 0, "block": 0} for e in each if e["advantage"]] for each in (one, two))
            assert sorted(map(json.dumps, one)) == sorted(map(json.dumps, two))
        else:
            assert (one, ours) == (two, theirs) and len(one) == 4 * 2 * 2
    assert any(refilled) == ("filter" in changes)


def test_every_seed_step_and_attempt_draws_its_own(tokenizer):
    items = [Passage(f"{i}", "", p.text, p.length) for i, p in enumerate(passages(12))]

    def drawn(seed, step):
        """(the sampler's seed, what is asked of the step's own passages, the passages of each refill)."""
        changes = {"objective": "random_span", "span_words": 2, "passages": 4, "filter": "refill", "seed": seed}
        run = Run(**SMALL | changes)
        game, seeds, asked, played = run.method(run, items, tokenizer), [], [], []

        def ask(texts, trainer, generator):
            seeds.append(generator.initial_seed())
            asked.append(texts)
            return answers_to(dict.fromkeys(texts, ["no box"] * 2), tokenizer)(texts)

        def play(items, *rest, plays=game.play):
            played.append(tuple(item.id for item in items))
            return plays(items, *rest)

        game.ask, game.play = ask, play
        place = SimpleNamespace(process_index=0)
        trainer = SimpleNamespace(state=SimpleNamespace(global_step=step), accelerator=place, use_vllm=False)
        game.rollout([p.id for p in items[:4] for _ in range(run.groups_per_block * run.group)], trainer)
        assert len(set(seeds)) == 1 and len(played) == 4 and len(set(played)) == 4
        return seeds[0], tuple(asked[0]), *played[1:]

    found = [drawn(seed, step) for seed, step in ((0, 0), (0, 1), (1, 0), (1, 1))]
    assert found[0] == drawn(0, 0)
    assert all(len(set(column)) == 4 for column in zip(*found, strict=True))
