"""Answers by vLLM as TRL gives them: whose seed they are drawn by, and equal parts of what a server answers."""

from types import SimpleNamespace

import torch

from pzlib.engine.generation import _by_vllm


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
    monkeypatch.setattr("pzlib.engine.generation.gather_object", lambda own: [*own, 3])
    ids, logprobs = _by_vllm([[5, 6]], 2, trainer("server", []), torch.Generator().manual_seed(0))
    assert ids == [[2, 1], [2, 1]] and len(logprobs) == 2
    asked = []
    busy = trainer("server", [])
    busy.vllm_generation.generate = lambda prompts, **_: asked.extend(prompts) or (None, [[1]] * 6, [[[0.0]]] * 6, None)
    assert _by_vllm([[5, 6]], 2, busy, torch.Generator()) == ([[1], [1]], [[0.0], [0.0]])
    assert asked == [[5, 6], [5, 6], [1], [1], [1], [1]]
