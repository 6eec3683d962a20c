"""The whole path over real text and byte-level tokens: corpus, masks, prompts, rewards, episodes, weights.
Mechanics only: the model is random, learns nothing, and a script says what a trained one would."""

import random
import shutil

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from pzlib.corpus import load_passages
from pzlib.engine import sampling
from pzlib.engine.models import load
from pzlib.masking import MASK, apply_mask, random_span
from pzlib.prompts import PAPER, generator_prompt, parse_boxed, parse_mask, predictor_prompt
from pzlib.rewards import predictor_reward
from pzlib.run import Run
from pzlib.train import train

SOURCES = ["wikipedia/articles.jsonl", "wikipedia/pages-articles-excerpt.xml.bz2", "math_text"]
BEFORE, AFTER = PAPER.predictor.split("{text}")
ILLEGAL = "words of no passage"
SIZES = {
    "tier": "smoke", "template": "paper", "steps": 2, "passages": 2, "group": 4, "corpus_limit": 6,
    "min_tokens": 32, "max_tokens": 160, "max_prompt_tokens": 640, "max_completion_tokens": 40,
    "learning_rate": 1e-3, "span_words": 3,
}  # fmt: skip


@pytest.fixture(scope="module")
def model(real_data, tmp_path_factory):
    """A folder with a random Qwen3 (2 layers of 32) and a byte-level BPE of real articles: " the" is one token."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("byte_level")
    corpus = load_passages(real_data / SOURCES[0], limit=100, seed=1, progress=False)
    tokens = Tokenizer(models.BPE())
    tokens.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokens.decoder = decoders.ByteLevel()
    alphabet, special = pre_tokenizers.ByteLevel.alphabet(), ["<pad>", "<eos>"]
    trainer = trainers.BpeTrainer(
        vocab_size=1500, initial_alphabet=alphabet, special_tokens=special, show_progress=False
    )
    tokens.train_from_iterator([PAPER.generator, PAPER.predictor, *(p.text for p in corpus)], trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokens, pad_token="<pad>", eos_token="<eos>")
    tokenizer.save_pretrained(folder)
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, head_dim=16, max_position_embeddings=1024,
        tie_word_embeddings=True, pad_token_id=0, eos_token_id=1, bos_token_id=None,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        Qwen3ForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(params=SOURCES)
def setting(request, real_data, model):
    """Settings over one source -> (Run, tokenizer, its corpus)."""

    def make(**changes):
        run = Run(**SIZES | {"model": str(model), "corpus": str(real_data / request.param)} | changes)
        tokenizer = load(run)[1]
        return run, tokenizer, passages_of(run, tokenizer)

    return make


def passages_of(run, tokenizer):
    return load_passages(
        run.corpus, tokenizer=tokenizer, min_tokens=run.min_tokens, max_tokens=run.max_tokens,
        limit=run.corpus_limit, seed=run.seed, progress=False,
    )  # fmt: skip


def unmasked(prompt, corpus):
    """(passage, target) of a predictor's prompt, found by laying the masked text over every passage."""
    masked = prompt.removeprefix(BEFORE).removesuffix(AFTER)
    pieces = masked.split(MASK)
    for passage in corpus:
        size = (len(passage.text) - len("".join(pieces))) // (len(pieces) - 1)
        target = passage.text[len(pieces[0]) : len(pieces[0]) + size]
        if size > 0 and passage.text == target.join(pieces):
            return passage, target
    raise AssertionError(f"no passage is {masked!r}")


def spans_of(text, n):
    """`n` different legal spans of one or two words, without the signs that are TeX's own."""
    found = []
    for seed in range(200):
        span = random_span(text, random.Random(seed), 2)
        if span and span not in found and not set(span) & set("{}\\"):
            found.append(span)
    return found[:n]


@pytest.fixture
def script(monkeypatch):
    """Says, token by token, what a trained model could: of each 4 masks two legal, one illegal, one unsaid; of the
    predictions of an even mask the first is right, of an odd one all. What is unsaid is the random model's own."""

    def install(tokenizer, corpus):
        by_prompt = {generator_prompt(p.text, PAPER): p.text for p in corpus}

        def says(prompt, number, i):
            if prompt in by_prompt:
                return [*(f" \\mask{{ {s} }}" for s in spans_of(by_prompt[prompt], 2)), f"\\mask{{{ILLEGAL}}}", None][i]
            _, target = unmasked(prompt, corpus)
            right = i == 0 or number % 2
            return f" It is \\boxed{{{target}}}." if right else f"\\boxed{{{target} or so}}" if i == 1 else None

        def sample(model, prompts, repeats, *, max_new_tokens, eos_ids, **named):
            drawn = original(model, prompts, repeats, max_new_tokens=max_new_tokens, eos_ids=eos_ids, **named)
            assert repeats == 4
            for number, ids in enumerate(prompts):
                for i in range(repeats):
                    if said := says(tokenizer.decode(ids), number, i):
                        row = (tokenizer(said)["input_ids"] + [eos_ids[0]])[:max_new_tokens]
                        at = number * repeats + i
                        drawn.completion_ids[at], drawn.clipped[at] = row, row[-1] != eos_ids[0]
            return drawn

        monkeypatch.setattr(sampling, "sample", sample)

    original = sampling.sample
    return install


def check(folder, run, tokenizer, corpus):
    """What holds of every run over real text, whoever spoke; returns its metrics and episodes."""
    metrics, episodes = folder.metrics(), folder.episodes()
    assert folder.state() == "complete" and metrics["step"].tolist() == list(range(1, run.steps + 1))
    assert all(run.min_tokens <= p.length <= run.max_tokens for p in corpus)
    assert all(p.length == len(tokenizer(p.text)["input_ids"]) for p in corpus)
    facts = folder.params()
    assert (facts["corpus_digest"], facts["prompts_too_long"]) == (corpus.digest, 0)

    texts = {p.id: p.text for p in corpus}
    for prompt in set(episodes["prompt"]):
        ids = tokenizer(prompt)["input_ids"]
        assert tokenizer.decode(ids) == prompt and len(ids) <= run.max_prompt_tokens
    for e in episodes.itertuples():
        text = texts[e.passage_id]
        if e.role == "generator":
            assert e.prompt == generator_prompt(text, PAPER) and text in e.prompt
        else:
            assert e.legal and e.kind in {"function", "number", "name", "other"}
            assert e.prompt == predictor_prompt(text.replace(e.mask, MASK), PAPER)
            assert text.count(e.mask) == e.count == e.prompt.count(MASK) - PAPER.predictor.count(MASK) > 0
            assert e.reward == predictor_reward(e.prediction if isinstance(e.prediction, str) else None, e.mask)
    assert episodes["length"].between(1, run.max_completion_tokens).all()

    finite = ["loss", "grad_norm", "learning_rate", "tokens_prompt", "tokens_completion", "seconds"]
    for role in set(episodes["role"]):
        finite += [f"{role}/{name}" for name in "reward dead_groups length clipped entropy parsed".split()]
    assert metrics[finite].notna().all(axis=None)
    assert (metrics["rows"] == run.rows_per_step).all()
    return metrics, episodes


def changed(folder, run):
    """Names of the weights that differ from those the run began with."""
    start = AutoModelForCausalLM.from_pretrained(run.model).state_dict()
    end = AutoModelForCausalLM.from_pretrained(folder.path / "model").state_dict()
    return [name for name, value in end.items() if not torch.equal(value, start[name])]


def test_pretrainzero_over_real_text(setting, script):
    run, tokenizer, corpus = setting()
    script(tokenizer, corpus)
    folder = train(run)
    metrics, episodes = check(folder, run, tokenizer, corpus)
    masks = episodes[episodes["role"] == "generator"]
    assert len(masks) == run.steps * run.passages * run.group
    said = {span for p in corpus for span in spans_of(p.text, 2)}
    for (_, passage), group in masks.groupby(["step", "passage_id"]):
        assert group["mask"].tolist()[:3] == spans_of(next(p.text for p in corpus if p.id == passage), 2) + [ILLEGAL]
        assert group["legal"].tolist() == [True, True, False, False]
        assert group["reward"].tolist() == [0.75, 0, 0, 0]  # found by one in four, by all, illegal, none
        assert group["advantage"].tolist() == pytest.approx([1.5, -0.5, -0.5, -0.5], abs=1e-3)
    predictions = episodes[episodes["role"] == "predictor"]
    assert len(predictions) == 2 * run.steps * run.passages * run.group and set(predictions["mask"]) <= said
    assert (metrics["predictor/accuracy"] == 0.625).all() and (metrics["generator/legal"] == 0.5).all()
    assert (metrics["predictor/dead_groups"] == 0.5).all() and (metrics["generator/dead_groups"] == 0).all()
    assert (metrics["rows_trained"] == run.passages * 2 * run.group).all()  # a live group of each role
    assert metrics.filter(regex="mask/(function|number|name|other)").sum(axis=1).tolist() == pytest.approx([1, 1])
    assert (metrics["grad_norm"] > 0).all() and changed(folder, run)


def test_random_spans_over_real_text(setting, script):
    run, tokenizer, corpus = setting(objective="random_span", passages=1)
    script(tokenizer, corpus)
    folder = train(run)
    metrics, episodes = check(folder, run, tokenizer, corpus)
    assert set(episodes["role"]) == {"predictor"} and "generator/reward" not in metrics
    assert len(episodes) == run.steps * run.passages * run.group**2
    words = [[word for word in mask.split() if any(map(str.isalnum, word))] for mask in episodes["mask"]]  # "=" is none
    assert all(1 <= len(found) <= run.span_words for found in words)
    assert metrics["predictor/accuracy"].between(0.1, 0.9).all()  # right where the script says the target whole
    assert (metrics["grad_norm"] > 0).all() and changed(folder, run)


def test_a_random_model_masks_nothing_and_nothing_is_trained(real_data, model):
    run = Run(**SIZES | {"model": str(model), "corpus": str(real_data / SOURCES[0]), "group": 2})
    tokenizer = load(run)[1]
    folder = train(run)
    metrics, episodes = check(folder, run, tokenizer, passages_of(run, tokenizer))
    assert set(episodes["role"]) == {"generator"} and len(episodes) == run.steps * run.passages * run.group
    assert not episodes["legal"].any() and (metrics["generator/legal"] == 0).all()
    assert (metrics[["loss", "grad_norm", "rows_trained"]] == 0).all(axis=None) and not changed(folder, run)


def test_a_saved_model_with_its_tokenizer_can_be_trained_again(real_data, model, tmp_path):
    run = Run(**SIZES | {"model": str(model), "corpus": str(real_data / SOURCES[0]), "steps": 1, "passages": 1})
    shutil.copytree(train(run).path / "model", tmp_path / "again")
    again = Run(**run.to_dict() | {"model": str(tmp_path / "again")})
    tokenizer = load(again)[1]
    check(train(again), again, tokenizer, passages_of(again, tokenizer))


@pytest.mark.parametrize("source", SOURCES)
def test_leading_space_tokens_keep_masks_and_answers_exact(real_data, model, source):
    run = Run(**SIZES | {"model": str(model), "corpus": str(real_data / source), "corpus_limit": 30})
    tokenizer = load(run)[1]
    assert tokenizer.tokenize("into the") == ["in", "to", "Ġthe"]
    rng, tried, unboxable = random.Random(0), 0, 0

    def through(text):
        return tokenizer.decode(tokenizer(text)["input_ids"], clean_up_tokenization_spaces=False)

    for passage in passages_of(run, tokenizer):
        assert through(generator_prompt(passage.text, PAPER)) == generator_prompt(passage.text, PAPER)
        for rule in ("all", "one", "words") * 4:
            span, tried = random_span(passage.text, rng, 4), tried + 1
            masked = apply_mask(passage.text, span, rule, rng)
            prompt = predictor_prompt(masked.text, PAPER)
            assert through(prompt) == prompt and masked.text in through(prompt)
            mask, answer = through(f" \\mask{{ {span} }}"), through(f"It is \\boxed{{{masked.target}}}.")
            if predictor_reward(parse_boxed(answer), masked.target):
                assert parse_mask(mask) == span
                near = through(f"\\boxed{{{masked.target}s}}")
                assert not predictor_reward(parse_boxed(near), masked.target)
            else:  # words cut out of a formula may leave a brace open, and then no box can hold them
                assert set(span) & set("{}"), span
                unboxable += 1
    assert tried > 300 and unboxable <= (0.1 * tried if source == "math_text" else 2)
