"""SFT and continued pretraining: rows written out by hand, the loss worked out token by token, runs that survive."""

import json
import random
import warnings

import pytest
import torch
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForCausalLM, AutoTokenizer

from pzlib.engine.generation import seed_of
from pzlib.engine.models import load
from pzlib.game import blocks
from pzlib.masking import Passage
from pzlib.objectives import supervised
from pzlib.run import Run
from pzlib.runs.folder import RunFolder
from pzlib.train import make_trainer, train, trl_arguments

SUPERVISED = ("sft", "continued_pretraining", "mixed_sft")

# Words stand twice, so that rule "one" has to draw; lengths differ, so that a mean of means is not the mean.
TEXTS = [
    "Anna lives in Rome . Bela works in Oslo . Rome is old .",
    "Carl works at the old bank near the river . the bank is tall .",
    "Dora is tall .",
    "the dogs and the cats and the books of Anna is in Lima . Anna is blue .",
]
SOLVED = {"question": "Rome .", "solution": "Rome is old . \\boxed{ old }"}
TIMES = ["seconds", "seconds_generation", "seconds_training", "seconds_evaluation"]
END = 1
KEYS = {"rows", "rows_trained", "tokens_prompt", "tokens_completion", "refilled"}  # and what the recorder adds:
KEYS |= {"step", "learning_rate", "grad_norm", "loss", *TIMES}


@pytest.fixture(scope="module")
def tokenizer(tiny_model):
    return AutoTokenizer.from_pretrained(tiny_model)


@pytest.fixture
def run(tiny_model, tmp_path):
    def make(texts=TEXTS, **changes):
        corpus = tmp_path / f"{len(texts)}.jsonl"
        corpus.write_text("".join(json.dumps({"id": f"p{i}", "text": text}) + "\n" for i, text in enumerate(texts)))
        sizes = {"tier": "smoke", "objective": "sft", "model": str(tiny_model), "corpus": str(corpus), "steps": 3}
        sizes |= {"passages": 2, "group": 3, "min_tokens": 1, "max_prompt_tokens": 32, "max_completion_tokens": 8}
        if changes.get("objective") == "mixed_sft":
            (tmp_path / "solved.jsonl").write_text(json.dumps(SOLVED) + "\n")
            sizes |= {"solutions": str(tmp_path / "solved.jsonl")}
        return Run(**sizes | {"learning_rate": 1e-3} | changes)

    return make


def passages(texts=TEXTS):
    return [Passage(f"p{i}", "", text, len(text.split())) for i, text in enumerate(texts)]


def rows_of(run, items, tokenizer):
    """The method of a run on some items, which makes its rows."""
    return run.method(run, items, tokenizer)


def loaded(run, tokenizer):
    """The passages, and problems, as `train` finds them: loading shuffles by the run's seed."""
    return run.method.load_items(run, tokenizer)


def weights(folder):
    return (folder.path / "model" / "model.safetensors").read_bytes()


def same(a, b):
    return a.metrics().drop(columns=TIMES).equals(b.metrics().drop(columns=TIMES)) and weights(a) == weights(b)


def test_an_sft_row_reads_the_prompt_and_learns_the_boxed_span_and_the_end(run, tokenizer, monkeypatch):
    drawn = iter(["Rome", None, "in Rome"])  # None: the passage had no legal span
    monkeypatch.setattr(supervised, "random_span", lambda *_: next(drawn))
    lessons = rows_of(run(passages=1, steps=1), passages(["Anna lives in Rome ."]), tokenizer)
    # "Passage : Anna lives in [mask] . Answer :" and "\boxed{ Rome } <eos>"
    one = ([3, 7, 15, 19, 21, 9, 8, 6, 7], [11, 33, 12, END])
    two = ([3, 7, 15, 19, 9, 8, 6, 7], [11, 21, 33, 12, END])
    assert lessons.rows(1) == [one, ([END], []), two]
    batch = lessons.collate([{"row": 0}, {"row": 1}, {"row": 2}])
    assert batch["input_ids"].tolist() == [one[0] + one[1], [END] + [0] * 12, two[0] + two[1]]
    assert batch["labels"].tolist() == [[-100] * 9 + one[1], [-100] * 13, [-100] * 8 + two[1]]
    assert batch["attention_mask"].tolist() == [[1] * 13, [1] + [0] * 12, [1] * 13]


def test_a_mask_without_room_keeps_its_place_and_learns_nothing(run, tokenizer, monkeypatch):
    monkeypatch.setattr(supervised, "random_span", lambda *_: "in Rome")  # 8 tokens to read, 5 to learn
    rows = {}
    for read, learned in ((8, 5), (7, 5), (8, 4)):
        small = run(passages=1, steps=1, max_prompt_tokens=read, max_completion_tokens=learned)
        rows[read, learned] = rows_of(small, passages(["Anna lives in Rome ."]), tokenizer).rows(1)
    assert rows.pop((8, 5))[0][1] == [11, 21, 33, 12, END]
    assert set(map(str, rows.values())) == {str([([END], [])] * 3)}


def test_plain_text_is_learned_whole_passage_by_passage_in_the_seeded_order(run, tokenizer):
    plain = run(objective="continued_pretraining", seed=5, steps=2, passages=1, group=3)
    lessons = rows_of(plain, passages(), tokenizer)
    order = []
    for epoch in (0, 1):
        ids = [0, 1, 2, 3]
        random.Random(seed_of(5, "order", epoch)).shuffle(ids)
        order += ids
    want = [([], tokenizer(TEXTS[i])["input_ids"] + [END]) for i in order]
    assert lessons.rows(1) + lessons.rows(2) == want[:6]
    dora = want[order.index(2)][1]
    assert dora == [18, tokenizer.convert_tokens_to_ids("is"), tokenizer.convert_tokens_to_ids("tall"), 8, END]
    for row, (_, learned) in enumerate(want[:6]):
        batch = lessons.collate([{"row": row}])
        assert batch["labels"].tolist() == batch["input_ids"].tolist() == [learned]


@pytest.mark.parametrize("rule", ["all", "one"])
def test_sft_learns_the_masks_that_random_span_asks(run, tokenizer, rule):
    texts = [text for text in TEXTS if not text.startswith("Dora")]
    both = {"mask_rule": rule, "steps": 3, "seed": 2}
    asked = train(run(texts, objective="random_span", filter="none", **both)).episodes()
    lessons = rows_of(run(texts, **both), loaded(run(texts, **both), tokenizer), tokenizer)
    for step in (1, 2, 3):
        groups = asked[asked["step"] == step][:: run().group]
        rows = lessons.rows(step)
        assert [tokenizer.decode(read) for read, _ in rows] == groups["prompt"].tolist()
        assert [tokenizer.decode(said[1:-2]) for _, said in rows] == groups["mask"].tolist()
    assert len(asked) == 3 * run().rows_per_step * run().group


def test_the_data_set_has_the_passages_of_the_passive_objectives_in_their_order(run, tokenizer):
    passive = blocks(passages(), run(objective="random_span"))["prompt"][:]
    assert rows_of(run(), passages(), tokenizer).ids == passive and len(passive) == 3 * run().rows_per_step


def test_a_tokenizer_that_begins_every_text_begins_the_prompt_only(run, tiny_model):
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<unk> $A", special_tokens=[("<unk>", tokenizer.unk_token_id)]
    )
    for read, learned in rows_of(run(), passages(), tokenizer).rows(1):
        assert read[0] == tokenizer.unk_token_id and learned[0] == 11
    for read, learned in rows_of(run(objective="continued_pretraining"), passages(), tokenizer).rows(1):
        assert not read and learned[0] == tokenizer.unk_token_id


def cross_entropy_by_hand(model, rows):
    """Mean of -log p over every learned token that has a token before it, row by row, without padding."""
    losses = []
    for read, learned in rows:
        logp = model(torch.tensor([read + learned])).logits[0].log_softmax(-1)
        losses += [-logp[i - 1, t] for i, t in enumerate(read + learned) if i >= max(1, len(read))]
    return torch.stack(losses).mean()


@pytest.mark.parametrize("objective", SUPERVISED)
@pytest.mark.parametrize("micro", [512, 1])
def test_loss_and_gradient_of_a_step_are_those_worked_out_by_hand(run, tiny_model, tokenizer, objective, micro):
    settings = run(objective=objective, micro_batch_rows=micro, max_grad_norm=100.0)
    folder = train(settings)
    rows = rows_of(settings, loaded(settings, tokenizer), tokenizer).rows(1)
    assert len({len(learned) for _, learned in rows}) > 1
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    loss = cross_entropy_by_hand(model, rows)
    loss.backward()
    norm = torch.cat([p.grad.flatten() for p in model.parameters()]).norm()
    first = folder.metrics().iloc[0]
    assert first["loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert first["grad_norm"] == pytest.approx(norm.item(), rel=1e-4)
    assert first["tokens_completion"] == sum(len(learned) for _, learned in rows)
    assert first["tokens_prompt"] == sum(len(read) for read, _ in rows)


@pytest.mark.parametrize("objective", SUPERVISED)
def test_three_steps_change_every_parameter_and_lower_the_loss(run, tiny_model, objective):
    folder = train(run(["Rome ."], objective=objective))  # one word: every row of every step is the same
    before = AutoModelForCausalLM.from_pretrained(tiny_model).state_dict()
    after = AutoModelForCausalLM.from_pretrained(folder.path / "model").state_dict()
    assert not [name for name, value in after.items() if torch.equal(value, before[name])]
    metrics = folder.metrics()
    assert metrics["loss"].is_monotonic_decreasing and folder.state() == "complete"
    assert set(metrics) == KEYS and metrics["step"].tolist() == [1, 2, 3]
    assert metrics["rows"].tolist() == metrics["rows_trained"].tolist() == [6] * 3
    assert metrics["refilled"].tolist() == metrics["seconds_generation"].tolist() == [0] * 3
    # "Passage : [mask] . Answer :" and "\boxed{ Rome } <eos>"; "Rome . <eos>"
    # mixed: three of each; "Question : Rome . Answer :" and "Rome is old . \\boxed{ old } <eos>"
    tokens = {"sft": (6 * 6, 6 * 4), "continued_pretraining": (0, 6 * 3), "mixed_sft": (3 * 6, 3 * 3 + 3 * 8)}
    assert (metrics["tokens_prompt"][0], metrics["tokens_completion"][0]) == tokens[objective]


def test_mixed_rows_are_text_and_solved_questions_by_turns(run, tokenizer):
    mixed = run(objective="mixed_sft", steps=2, passages=1, group=3)
    lessons = rows_of(mixed, loaded(mixed, tokenizer), tokenizer)
    rows = lessons.rows(1) + lessons.rows(2)
    asked = ([tokenizer.convert_tokens_to_ids(word) for word in "Question : Rome . Answer :".split()],)
    asked += (tokenizer("Rome is old . \\boxed{ old }")["input_ids"] + [END],)
    assert rows[1::2] == [asked] * 3
    plain = run(objective="continued_pretraining", steps=1, passages=1, group=3)
    assert rows[::2] == rows_of(plain, loaded(plain, tokenizer), tokenizer).rows(1)  # the same text, in its order


def test_a_solution_without_room_keeps_its_place_and_learns_nothing(run, tokenizer):
    small = run(objective="mixed_sft", steps=1, passages=1, group=2, max_completion_tokens=7)
    assert rows_of(small, loaded(small, tokenizer), tokenizer).rows(1)[1] == ([END], [])


def test_the_problems_of_mixed_sft_are_not_those_of_rlvr_of_the_same_seed(tiny_model):
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    asked = loaded(Run(objective="rlvr", tier="smoke", corpus_limit=20), tokenizer)
    mixed = loaded(Run(objective="mixed_sft", tier="smoke", corpus_limit=20, min_tokens=1), tokenizer)
    solved = [item for item in mixed if hasattr(item, "solution")]
    assert len(solved) == 20 and len(mixed) == 40 and mixed.report["kept"] == 40
    assert {p.question for p in solved} != {p.question for p in asked}
    assert all(p.solution.startswith("Think : ") and f"\\boxed{{ {p.answer} }}" in p.solution for p in solved)


def test_mixed_sft_without_solutions_is_refused():
    with pytest.raises(ValueError, match="solutions: is empty"):
        Run(objective="mixed_sft", solutions=" ")


def test_illegal_masks_are_not_counted_as_trained(run, monkeypatch):
    monkeypatch.setattr(supervised, "random_span", lambda text, *_: None if "Rome" in text else "Oslo")
    metrics = train(run(["Rome is old .", "Oslo is old ."], steps=2)).metrics()
    assert metrics["rows"].tolist() == [6, 6] and metrics["rows_trained"].tolist() == [3, 3]
    assert metrics["tokens_completion"].tolist() == [12, 12]  # \boxed{ Oslo } and the end
    assert metrics["tokens_prompt"].tolist() == [24, 24]  # Passage : [mask] is old . Answer :


@pytest.mark.parametrize("objective", SUPERVISED)
def test_equal_runs_are_equal_and_seeds_differ(run, objective):
    a, b, c = (train(run(objective=objective, name=n, seed=s)) for n, s in (("a", 1), ("b", 1), ("c", 2)))
    assert same(a, b) and not same(a, c) and weights(a) != weights(c)


@pytest.mark.parametrize("objective", SUPERVISED)
def test_stopped_and_started_again_it_ends_as_if_never_stopped(run, objective):
    def evaluate(model, tokenizer, step):
        torch.rand(7)
        asked.append(step)
        if step == 4 and step in stops:
            stops.remove(step)
            raise RuntimeError("stop")
        return [dict(task="a", group="math", n=2, correct=step % 2, accuracy=step % 2 / 2, length=1.0, reasoned=0.0)]

    every = {"objective": objective, "steps": 6, "save_every": 3, "eval_every": 2, "schedule": "cosine"}
    stops, asked = [], []
    whole = train(run(name="whole", **every), evaluate=evaluate)
    stops.append(4)
    with pytest.raises(RuntimeError, match="stop"):
        train(run(name="stopped", **every), evaluate=evaluate)
    stopped = RunFolder(run(name="stopped", **every).folder)
    assert stopped.state() == "failed" and (stopped.path / "checkpoints/checkpoint-3").is_dir()
    asked.clear()
    assert train(run(name="stopped", **every), evaluate=evaluate).state() == "complete"
    assert asked == [4, 6]  # it went on from step 3
    assert same(stopped, whole) and stopped.evals().equals(whole.evals())
    assert whole.evals()["step"].tolist() == [0, 2, 4, 6] and whole.metrics()["step"].tolist() == [1, 2, 3, 4, 5, 6]


def test_every_variant_runs_and_nothing_is_said(run, capfd):
    variant = {"dtype": "bfloat16", "schedule": "cosine", "warmup_steps": 1, "mask_rule": "words"}
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        folder = train(run(steps=4, save_every=1, **variant))
    metrics = folder.metrics()
    assert metrics["grad_norm"].notna().all()
    assert metrics["learning_rate"].tolist() == pytest.approx([0, 1e-3, 7.5e-4, 2.5e-4])
    said = "".join(capfd.readouterr())
    assert "mtime" not in said and "model shards" not in said and "Warning" not in said


def test_dropout_is_off_as_in_the_game(run):
    settings = run()
    model, tokenizer = load(settings)
    model.dropout = torch.nn.Dropout(0.5)
    make_trainer(settings, model, tokenizer, passages(), RunFolder(settings.folder).open(settings))
    assert model.dropout.p == 0


def test_both_trainers_take_the_same_steps_of_the_same_optimizer(run):
    folder = RunFolder(run().folder)
    ours, game = (trl_arguments(run(objective=o, micro_batch_rows=4), folder) for o in ("sft", "pretrainzero"))
    for name in (
        "seed learning_rate lr_scheduler_type warmup_steps optim adam_beta1 adam_beta2 adam_epsilon weight_decay "
        "max_grad_norm bf16 fp16 max_steps save_steps logging_steps gradient_checkpointing"
    ).split():
        assert getattr(ours, name) == getattr(game, name), name
    assert (ours.optim, ours.adam_beta1, ours.adam_beta2, ours.adam_epsilon) == ("adamw_torch", 0.9, 0.999, 1e-8)


def test_rows_are_shared_among_micro_batches_and_processes(run):
    folder = RunFolder(run().folder)
    args = trl_arguments(run(micro_batch_rows=4), folder)  # 6 rows a step
    assert (args.per_device_train_batch_size, args.gradient_accumulation_steps) == (3, 2)
    shared = trl_arguments(run(passages=1, group=4), folder, processes=2)  # no block to keep whole
    assert shared.per_device_train_batch_size * shared.gradient_accumulation_steps == 2
    with pytest.raises(ValueError, match="passages: 1 a step cannot be shared among 2 processes"):
        trl_arguments(run(passages=1), folder, processes=2)
