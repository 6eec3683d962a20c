"""Answers are drawn from the distribution that the loss is about; by vLLM with the run's seed, in equal parts."""

import contextlib
import copy
import random
from types import SimpleNamespace

import pytest
import torch
from ranks import together
from skilled import passages

from pzlib.engine import models
from pzlib.engine.generation import _by_vllm, ask, holding, in_turn, place, spoken
from pzlib.prompts import TINY, generator_prompt
from pzlib.run import Run
from pzlib.runs.folder import RunFolder
from pzlib.train import make_trainer, material

EOS = 1  # of the tiny model


@pytest.mark.parametrize("temperature", [0.7, 1.4])
def test_tokens_are_drawn_from_the_distribution_whose_log_probabilities_the_loss_takes(skilled, temperature):
    """At any temperature: what the sampler says of its distribution is what TRL's loss finds for the same tokens, and
    the tokens drawn are a sample of it, their surprise in the mean its entropy."""
    run = Run(
        tier="smoke", objective="random_span", model=str(skilled / "model"), corpus=str(skilled / "corpus.jsonl"),
        min_tokens=4, max_prompt_tokens=32, max_completion_tokens=8, steps=1, passages=16, group=8, seed=1,
        filter="none", drop_rows=False, temperature=temperature,
    )  # fmt: skip
    model, tokenizer = models.load(run)
    items, facts = material(run, model, tokenizer)
    folder, seen = RunFolder(run.folder).open(run, facts), []
    trainer = make_trainer(run, model, tokenizer, items, folder)

    def look(module, args, inputs, out):
        if getattr(out, "log_probs", None) is not None:
            real = inputs["labels"][:, -out.log_probs.shape[1] :] != -100
            seen.append((out.log_probs[real].detach(), out.entropy[real].detach()))

    model.register_forward_hook(look, with_kwargs=True)
    trainer.train()
    logp, entropy = (torch.cat(column).double() for column in zip(*seen, strict=True))
    episodes = folder.episodes()
    assert len(logp) == episodes["length"].sum() > 500
    by_sampler = (episodes["entropy"] * episodes["length"]).sum() / episodes["length"].sum()
    assert by_sampler == pytest.approx(entropy.mean().item(), abs=1e-4) and by_sampler > 0.2
    excess = -logp - entropy  # 0 in the mean where the tokens were drawn from this very distribution
    z = excess.mean() / (excess.std() / len(excess) ** 0.5)
    print(f"{len(logp)} tokens, entropy {entropy.mean():.3f}, excess {excess.mean():.3f}, z {z:.2f}")
    assert abs(z) < 3


def trainer(mode, seeds, rank=0):
    def generate(prompts, images, num_generations):
        seeds.append(torch.initial_seed())
        return None, [[len(p), 1] for p in prompts], [[[-0.5], [-0.25]] for _ in prompts], None

    place = SimpleNamespace(process_index=rank, device=torch.device("cpu"))
    drawn = SimpleNamespace(generate=generate)
    return SimpleNamespace(accelerator=place, vllm_mode=mode, vllm_generation=drawn, eos_token_ids=[1])


def test_an_engine_in_the_process_draws_by_the_runs_seed_and_leaves_torchs_as_it_was():
    seeds, before = [], torch.random.get_rng_state()
    for seed, rank in ((0, 0), (0, 0), (1, 0), (0, 1)):
        ids, logprobs = _by_vllm([[5, 6, 7]], 2, trainer("colocate", seeds, rank), torch.Generator().manual_seed(seed))
        assert ids == [[3, 1], [3, 1]] and logprobs == [[-0.5, -0.25]] * 2
    assert seeds[0] == seeds[1] and len(set(seeds)) == 3
    assert torch.equal(torch.random.get_rng_state(), before)
    generator = torch.Generator().manual_seed(0)
    for _ in range(2):  # the masks of a step, then its predictions
        _by_vllm([[5]], 2, trainer("colocate", seeds), generator)
    assert seeds[-1] != seeds[-2]
    assert _by_vllm([], 2, trainer("colocate", seeds), generator) == ([], [])


def test_of_a_server_every_process_asks_for_equally_many_answers(monkeypatch):
    """TRL cuts what the server says into equal parts; a process with more illegal masks has fewer to ask for."""
    monkeypatch.setattr("accelerate.utils.gather_object", lambda own: [*own, 3])
    ids, logprobs = _by_vllm([[5, 6]], 2, trainer("server", []), torch.Generator().manual_seed(0))
    assert ids == [[2, 1], [2, 1]] and len(logprobs) == 2
    asked = []
    busy = trainer("server", [])
    busy.vllm_generation.generate = lambda prompts, **_: asked.extend(prompts) or (None, [[1]] * 6, [[[0.0]]] * 6, None)
    assert _by_vllm([[5, 6]], 2, busy, torch.Generator()) == ([[1], [1]], [[0.0], [0.0]])
    assert asked == [[5, 6], [5, 6], [1], [1], [1], [1]]


@pytest.mark.parametrize("counts", [[5], [2, 3], [0, 4, 1]])
def test_processes_draw_in_turn_what_one_would(monkeypatch, counts):
    def draws(rank):
        rng, found = random.Random(0), []
        for _ in range(2):
            with in_turn(rng):
                found.append([rng.random() for _ in range(counts[rank])])
        return *found, rng.getstate(), place(counts[rank])

    first, second, states, places = zip(*together(len(counts), draws, monkeypatch), strict=True)
    one = random.Random(0)
    for found in (first, second):
        assert sum(found, []) == [one.random() for _ in range(5)]
    assert set(states) == {one.getstate()}
    assert places == tuple((sum(counts[:rank]), 5) for rank in range(len(counts)))


def test_processes_get_the_answers_that_one_would(skilled, monkeypatch):
    """Also where one of them asks nothing."""
    run, (model, tokenizer) = asking(skilled)
    texts = [generator_prompt(passage.text, TINY) for passage in passages(5)]

    def answers(parts):
        def asked(rank):
            return ask(run, tokenizer, parts[rank], asked_by(copy.deepcopy(model)), torch.Generator().manual_seed(3))

        found = sum(together(len(parts), asked, monkeypatch), [])
        return [[(answer.prompt_ids, answer.ids, answer.text, answer.clipped) for answer in group] for group in found]

    one = answers([texts])
    assert len(one) == 5 and len({str(group) for group in one}) > 1
    for parts in ([texts[:2], texts[2:]], [[], texts], [texts[:4], [], texts[4:]]):
        assert answers(parts) == one


def asking(skilled, **changes):
    """A Run of the taught model, and (model, tokenizer)."""
    run = Run(tier="smoke", model=str(skilled / "model"), max_completion_tokens=8, **changes)
    return run, models.load(run)


def asked_by(model):
    """What `ask` needs of a trainer."""
    place = SimpleNamespace(unwrap_model=lambda model: model, autocast=contextlib.nullcontext)
    return SimpleNamespace(accelerator=place, model_wrapped=model, use_vllm=False, eos_token_ids=[EOS])


def test_an_answer_is_its_tokens_but_for_the_end_of_its_own_prompt_and_ends_at_a_stop_word(skilled):
    run, (model, tokenizer) = asking(skilled, temperature=2.5)
    texts = [generator_prompt(passage.text, TINY) for passage in passages(8)]
    (stop,) = tokenizer("}")["input_ids"]
    for own in ((), (stop,)):
        groups = ask(run, tokenizer, texts, asked_by(model), torch.Generator().manual_seed(0), own)
        assert [[answer.prompt_ids for answer in group] for group in groups] == [
            [ids] * run.group for ids in tokenizer(texts)["input_ids"]
        ]
        found = [answer for group in groups for answer in group]
        assert {answer.clipped for answer in found} == {False, True}
        for answer in found:
            ended = answer.ids[-1] in (EOS, *own)
            assert answer.clipped != ended and (ended or len(answer.ids) == 8)
            assert answer.text.split() == tokenizer.convert_ids_to_tokens(answer.ids[: len(answer.ids) - ended])
            assert not {EOS, *own} & set(answer.ids[:-1])


def test_next_to_no_top_p_leaves_the_most_likely_answer(skilled):
    run, (model, tokenizer) = asking(skilled, top_p=1e-6)
    texts = [generator_prompt(passage.text, TINY) for passage in passages(3)]
    for group in ask(run, tokenizer, texts, asked_by(model), torch.Generator().manual_seed(0)):
        assert len({tuple(answer.ids) for answer in group}) == 1 and {answer.entropy for answer in group} == {0.0}


class Letters:
    """A tokenizer whose tokens are these strings; the last is the end token."""

    tokens = ["It is ", "\\boxed{", "a", "}", "}\n", "\n\n", "Passage:", "<end>"]

    def __len__(self):
        return len(self.tokens)

    def batch_decode(self, rows, **_):
        return ["".join(self.tokens[i] for i in row) for row in rows]


def test_a_line_ends_an_answer_whose_last_letters_a_token_may_share_with_it():
    tokenizer, stop = Letters(), ("\n",)
    assert holding(tokenizer, stop) == (4, 5) and holding(tokenizer, ()) == ()
    rows = [[0, 1, 2, 4], [0, 1, 2, 3, 5], [0, 1, 2, 3, 7], [0, 1, 2, 3]]
    answer = "It is \\boxed{a}"
    assert spoken(tokenizer, rows, [False, False, False, True], stop) == [answer] * 4
    # without such words nothing but the end token goes
    assert spoken(tokenizer, [[2, 4, 6, 7], [2, 5]], [False, True]) == ["a}\nPassage:", "a\n\n"]


@pytest.mark.parametrize("objective", ["random_span", "rlvr", "rpt", "rlpt", "rlp"])
def test_only_forms_of_the_template_end_with_its_line(objective):
    ends = {"rpt": [], "rlpt": [], "rlp": ["</think>"]}.get(objective, ["\n"])
    run = Run(tier="gpu", objective=objective, template="three_shot")
    assert run.method.stop_words(run) == ends
    plain = Run(tier="gpu", objective=objective)
    assert plain.method.stop_words(plain) == [end for end in ends if end != "\n"]
