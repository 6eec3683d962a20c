"""RLP by hand: which token is asked for, where a thought ends, what it is paid; and against slow loops in Python."""

import math
import random

import numpy as np
import pytest
import torch
from skilled import passages as nine_words
from skilled import teach
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from pzlib.engine.generation import Answer
from pzlib.engine.models import load
from pzlib.engine.packing import after
from pzlib.masking import Passage
from pzlib.objectives.rlp import RLP, centred_advantages
from pzlib.run import Run
from pzlib.runs.folder import RunFolder
from pzlib.train import fitting, make_trainer, train, trl_arguments
from tests.bench.hybrids import tiny_hybrid

TEXT = "Anna lives in Rome near the old river ."
PASSAGE = Passage("p", "", TEXT, 9)
BASE = dict(tier="smoke", objective="rlp", group=4, passages=2, min_context=4)


@pytest.fixture(scope="module")
def tokenizer(tiny_model):
    return AutoTokenizer.from_pretrained(tiny_model)


@pytest.fixture(scope="module")
def model(tiny_model):
    return AutoModelForCausalLM.from_pretrained(tiny_model).eval()


def play(tokenizer, model, said, read, passages=(PASSAGE,), seed=0, clipped=False, **changes):
    """Blocks of passages whose thoughts are `said`, one text for each of the group."""
    rollout = RLP(Run(**BASE | changes), passages, tokenizer, model=model)

    def ask(texts):
        ids = [tokenizer(one)["input_ids"] for one in said]
        logprobs = [[-0.5] * len(own) for own in ids]
        answers = zip(ids, said, logprobs, strict=True)
        answers = [(own, text, 0.3, clipped, logp) for own, text, logp in answers]
        return [[Answer(tokenizer(text)["input_ids"], *answer) for answer in answers] for text in texts]

    return rollout, rollout.play(rollout.items, ask, random.Random(seed), read=read)


SAID = ["\\boxed{", "the old \\boxed{ Rome } <eos>", "he is tall <eos>", "Rome Rome \\boxed{"]
WITH = [math.log(p) for p in (0.5, 0.25, 0.25, 1.0)]


def test_a_group_worked_by_hand(tokenizer, model):
    questions = []
    read = lambda asked: questions.extend(asked) or [(WITH, math.log(0.25))]  # noqa: E731
    rollout, (block,) = play(tokenizer, model, SAID, read)
    rewards = [math.log(2), 0.0, 0.0, math.log(4)]
    assert [row.episode["reward"] for row in block.rows] == pytest.approx(rewards)
    # the mean is log(8) / 4 = 3/4 log 2, times 4/3: the advantages are 1/3, -1, -1, 5/3 of log 2
    advantages = [math.log(2) * share for share in (1 / 3, -1, -1, 5 / 3)]
    assert [row.episode["advantage"] for row in block.rows] == pytest.approx(advantages)
    mean = sum(row.score for row in block.rows) / 4  # what TRL subtracts, with scale_rewards "none"
    assert [row.score - mean for row in block.rows] == pytest.approx(advantages)
    told = [row.episode for row in block.rows]
    assert [e["verdict"] for e in told] == ["helped", "hurt", "hurt", "helped"]
    assert [e["prediction"] for e in told] == ["", "the old", None, "Rome Rome"]
    assert [e["completion"] for e in told] == ["\\boxed{", "the old \\boxed{", "he is tall", "Rome Rome \\boxed{"]
    assert [e["length"] for e in told] == [1, 3, 4, 3]  # of the third its end token too: all that was drawn is learned
    assert [len(row.logprobs) for row in block.rows] == [1, 3, 4, 3]
    ((prompt, thoughts, context, token),) = questions
    word = told[0]["mask"]
    assert tokenizer.decode(prompt) == f"Passage : {tokenizer.decode(context)} [mask] Answer :"
    assert f"{tokenizer.decode(context)} {word}" in TEXT and tokenizer.decode([token]) == word
    closed = ["\\boxed{", "the old \\boxed{", "he is tall \\boxed{", "Rome Rome \\boxed{"]
    assert [tokenizer.decode(thought) for thought in thoughts] == closed
    measured = rollout.measures([e | {"mask": "Rome"} for e in told])
    assert measured["thought/naming"] == 1 / 4 and measured["thought/empty"] == 1 / 4
    assert measured["thought/reward_naming"] == pytest.approx(math.log(4))
    assert measured["thought/reward_other"] == pytest.approx(math.log(2) / 3)


def test_the_baseline_without_a_thought_moves_no_weight(tokenizer, model):
    """It is the same for all thoughts of a group, so its mean takes it off: the rate of the average can't matter."""
    found = [
        [row.episode["advantage"] for row in play(tokenizer, model, SAID, lambda _, b=b: [(WITH, b)])[1][0].rows]
        for b in (-0.1, -3.0)
    ]
    assert found[0] == pytest.approx(found[1])


def test_a_thought_cut_short_is_closed_and_keeps_all_its_tokens(tokenizer, model):
    questions = []
    read = lambda asked: questions.extend(asked) or [([-1.0] * 4, -1.0)]  # noqa: E731
    _, (block,) = play(tokenizer, model, ["he is tall"] * 4, read, clipped=True)
    assert [row.episode["clipped"] for row in block.rows] == [True] * 4
    assert tokenizer.decode(questions[0][1][0]) == "he is tall \\boxed{" and len(block.rows[0].completion_ids) == 3
    assert {row.episode["advantage"] for row in block.rows} == {0.0}


def test_every_position_with_enough_context_can_be_asked_for(tokenizer, model):
    words, asked = TEXT.split(), set()
    for seed in range(60):
        _, (block,) = play(tokenizer, model, SAID, lambda q: [(WITH, -1.0)], seed=seed)
        asked |= {row.episode["mask"] for row in block.rows}
        assert len({row.episode["mask"] for row in block.rows}) == 1  # one token a passage
    assert asked == set(words[4:])


def test_a_text_shorter_than_its_context_keeps_its_place_and_is_counted(tokenizer, model, home):
    short = Passage("s", "", "Anna is tall .", 4)
    _, (block, other) = play(tokenizer, model, SAID, lambda q: [(WITH, -1.0)] * len(q), (short, PASSAGE))
    assert [row.episode for row in block.rows] == [None] * 4 and not any(row.in_loss for row in block.rows)
    assert all(row.episode and row.in_loss for row in other.rows)
    with pytest.raises(ValueError, match="min_context: 4 tokens of context leave no token to predict"):
        play(tokenizer, model, SAID, None, (short,))


def slowly(model, text, token):
    """log p(token | text) by one forward over exactly this text, the softmax in Python's own floats."""
    logits = model(input_ids=torch.tensor([text])).logits[0, -1].tolist()
    top = max(logits)
    return logits[token] - top - math.log(math.fsum(math.exp(value - top) for value in logits))


@pytest.fixture(params=["qwen3", "nemotron_h", "mamba2"])
def any_model(request, tiny_model, tokenizer, tmp_path):
    if request.param == "qwen3":
        return AutoModelForCausalLM.from_pretrained(tiny_model)
    return AutoModelForCausalLM.from_pretrained(tiny_hybrid(request.param, tokenizer, tmp_path))


def test_the_reward_against_a_slow_loop(any_model, tokenizer):
    rollout = RLP(Run(**BASE, ema=0.5), [PASSAGE], tokenizer, model=any_model)
    with torch.no_grad():  # policy and average must differ
        for weight in any_model.parameters():
            weight.mul_(1.5)
    rng, questions = random.Random(0), []
    for _ in range(7):
        ids = [rng.choices(range(3, len(tokenizer)), k=rng.randint(1, 30)) for _ in range(6)]
        questions.append((ids[0], [ids[1], ids[2], ids[1], []], ids[3], rng.randrange(len(tokenizer))))
    any_model.train()
    modes = []
    hook = any_model.register_forward_pre_hook(lambda model, _: modes.append(model.training))
    found = rollout.read(questions, any_model)
    hook.remove()
    assert any_model.training and modes and not any(modes)
    any_model.eval()
    for (with_, without), (prompt, thoughts, context, token) in zip(found, questions, strict=True):
        assert with_ == pytest.approx([slowly(any_model, prompt + thought, token) for thought in thoughts], abs=2e-5)
        assert without == pytest.approx(slowly(rollout.average.model, context, token), abs=2e-5)
        assert with_[0] == with_[2]  # the very same number: equal thoughts have equal advantages


def test_likelihoods_do_not_depend_on_what_is_read_beside_them(model, tokenizer):
    rng = random.Random(1)
    text, others = rng.choices(range(3, 40), k=60), [rng.choices(range(3, 40), k=n) for n in (90, 70, 1, 30)]
    alone = [after(model, [(text, [branch], 9)])[0][0] for branch in others]
    assert after(model, [(text, others, 9), ([5], [[6] * 100], 7)])[0] == pytest.approx(alone, abs=2e-5)


@pytest.fixture(scope="module")
def skilled(tiny_model, tmp_path_factory):
    torch.manual_seed(0)
    return teach(tiny_model, tmp_path_factory.mktemp("skilled") / "model", steps=60)


def make(skilled, items=None, **changes):
    sizes = {"model": str(skilled), "steps": 2, "max_completion_tokens": 5, "learning_rate": 1e-3, "passages": 4}
    run = Run(**BASE | sizes | changes)
    model, tokenizer = load(run)
    items = items or nine_words(12)
    return make_trainer(run, model, tokenizer, items, RunFolder(run.folder).open(run))


def test_the_loss_is_the_papers_and_is_on_the_thoughts_alone(skilled, home):
    """Against - 1/(rows) sum_rows A 1/|c| sum_tokens log p(token), whose gradient a ratio of 1 leaves as it is."""
    trainer = make(skilled)
    batch = next(iter(trainer.get_train_dataloader()))
    batches, original = [], trainer.compute_loss
    trainer.compute_loss = lambda model, x, *a, **k: batches.append(x) or original(model, x, *a, **k)
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    trainer.training_step(trainer.model, batch, None)
    (inputs,) = batches
    told = trainer.method.folder.episodes([1])
    assert sorted(inputs["advantages"].tolist()) == pytest.approx(sorted(told["advantage"]), abs=1e-6)
    assert any(told["advantage"]) and centred_advantages(told["reward"].tolist(), 4) == told["advantage"].tolist()
    assert int(inputs["completion_mask"].sum()) == told["length"].sum()
    packed = torch.cat([w.grad.flatten().clone() for w in trainer.model.parameters()])

    model = trainer.model.eval()
    model.zero_grad()
    rows = zip(
        *(inputs[name] for name in ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask")), strict=True
    )
    for (prompt, seen, thought, own), advantage in zip(rows, inputs["advantages"], strict=True):
        prompt, thought = prompt[seen.bool()], thought[own.bool()]
        logits = model(input_ids=torch.cat([prompt, thought])[None]).logits[0, len(prompt) - 1 : -1]
        logp = logits.log_softmax(-1).gather(1, thought[:, None])
        (-advantage * logp.mean() / len(inputs["advantages"])).backward()
    ours = torch.cat([w.grad.flatten() for w in model.parameters()])
    assert ours.norm() > 0 and (ours - packed).norm() < 1e-4 * ours.norm()
    assert trainer.packs and not trainer.drop_rows


def test_shared_prompts_read_once_change_nothing(skilled, home):
    norms = []
    for packs in (True, False):
        trainer = make(skilled, name=f"packs-{packs}")
        trainer.packs = packs
        trainer.train()
        norms.append(trainer.method.folder.metrics()[["grad_norm", "predictor/reward"]].to_numpy().flatten())
    assert norms[0] == pytest.approx(norms[1], rel=1e-3)


def test_steps_with_a_divergence_term_and_in_bfloat16_run(tiny_model, home):
    for changes in ({"kl": 1e-3}, {"dtype": "bfloat16"}):
        trainer = make(tiny_model, name=next(iter(changes)), **changes)
        trainer.train()
        metrics = trainer.method.folder.metrics()
        assert len(metrics) == 2 and np.isfinite(metrics["grad_norm"]).all()
        # a step whose thoughts are all alike moves nothing, whatever the seed; every other step does
        moves = trainer.method.folder.episodes().groupby("step")["advantage"].any()
        assert metrics.set_index("step")["grad_norm"].gt(0)[moves].all()
        assert {"thought/naming", "verdict/helped"} & set(metrics) and metrics["predictor/parsed"].notna().all()


def test_a_hybrid_model_takes_a_whole_step(tmp_path, home):
    """Random weights, tinybase's tokenizer; no branches can share its state, so all is read row by row."""
    folder = tiny_hybrid("nemotron_h", AutoTokenizer.from_pretrained("data/tinybase_a"), tmp_path / "nemotron_h")
    run = Run(**BASE, model=str(folder), steps=1, max_completion_tokens=4)
    before = AutoModelForCausalLM.from_pretrained(folder).state_dict()
    trained = train(run)
    now = AutoModelForCausalLM.from_pretrained(trained.path / "model").state_dict()
    moves = trained.episodes()["advantage"].any()  # thoughts that are all alike move nothing, whatever the seed
    assert trained.state() == "complete" and moves == any(not torch.equal(now[name], before[name]) for name in before)
    assert (trained.metrics()["rows_trained"].item() > 0) == moves


def test_real_tokenizers_keep_the_space_before_the_token_and_find_a_tag_in_pieces(tmp_path, model):
    tokens = Tokenizer(models.BPE())
    tokens.pre_tokenizer, tokens.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, special_tokens=["<eos>"])
    text = "The river runs by the river town.\nThe river is old."
    tokens.train_from_iterator([text] * 5, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokens, pad_token="<eos>", eos_token="<eos>")
    questions = []
    read = lambda asked: questions.extend(asked) or [(WITH, -1.0)]  # noqa: E731
    said = ["it runs on</think> on and on", "</think>", "I do not know", "no <think>"]
    settings = {"template": "paper", "max_prompt_tokens": 900}
    for seed in range(20):
        rollout, (block,) = play(tokenizer, model, said, read, (Passage("p", "", text, 20),), seed, True, **settings)
        prompt, thoughts, context, token = questions[-1]
        assert text.startswith(tokenizer.decode(context) + tokenizer.decode([token]))
        assert tokenizer.decode(prompt).endswith(tokenizer.decode(context) + "<think>")
    assert any(tokenizer.decode([token]).startswith(" ") for *_, token in questions)
    closed = ["it runs on</think>", "</think>", "I do not know</think>", "no <think></think>"]
    assert [tokenizer.decode(thought) for thought in thoughts] == closed
    assert [row.episode["prediction"] for row in block.rows] == ["it runs on", "", None, None]
    assert len(rollout.closing) > 1


def test_what_the_tiers_and_trl_are_told(home):
    paper = Run(tier="paper", objective="rlp")
    stated = ("model", "passages", "group", "learning_rate", "schedule", "temperature", "max_completion_tokens", "ema")
    assert [getattr(paper, name) for name in stated] == [
        "Qwen/Qwen3-1.7B-Base", 512, 16, 1e-6, "constant", 0.7, 2048, 0.999,
    ]  # fmt: skip
    for run in (paper, Run(tier="mini", objective="rlp")):
        args = trl_arguments(run, RunFolder(home / "r"))
        assert (args.loss_type, args.scale_rewards, run.filter, run.drop_rows) == ("grpo", "none", "none", False)
        assert args.beta == 0 and args.generation_kwargs is None and run.rows_per_step == run.passages * run.group
    args = trl_arguments(Run(tier="mini", objective="rlp", template="paper", use_vllm=True), RunFolder(home / "r"))
    assert args.generation_kwargs == {"stop": ["</think>"], "include_stop_str_in_output": True}
    other = trl_arguments(Run(tier="mini"), RunFolder(home / "r"))
    assert (other.loss_type, other.scale_rewards) == ("dapo", "group")
    with pytest.raises(ValueError, match="drop_rows: would change the gradient, since loss_type is grpo"):
        make("data/tinybase_a", drop_rows=True)


def test_prompts_that_do_not_fit_are_left_out(tokenizer):
    items = [PASSAGE, Passage("b", "", "Anna is old .", 4)]
    for most, ids in ((13, ["b"]), (14, ["p", "b"])):  # nine words, and "Passage : [mask] Answer :"
        kept, left_out = fitting(Run(**BASE, max_prompt_tokens=most), items, tokenizer)
        assert [passage.id for passage in kept] == ids and left_out == 2 - len(ids)
