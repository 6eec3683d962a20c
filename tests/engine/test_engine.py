"""What a run tells TRL and vLLM, without vLLM: settings, seeds, counts. `make test-vllm` has the real engine."""

import inspect
import re
from types import SimpleNamespace

import pytest
import torch
from trl.generation import vllm_generation

from pzlib.engine import vllm
from pzlib.engine.generation import _by_vllm
from pzlib.engine.vllm import KEY, Cuts, as_asked
from pzlib.run import Run
from pzlib.runs.folder import RunFolder
from pzlib.train import trl_arguments


def test_every_vllm_argument_that_counts_is_written_out(home):
    run = Run(tier="gpu", use_vllm=True)
    args = trl_arguments(run, RunFolder(home / "r"))
    assert (args.use_vllm, args.vllm_mode, args.vllm_gpu_memory_utilization) == (True, "colocate", 0.3)
    assert args.vllm_max_model_length == run.max_prompt_tokens + run.max_completion_tokens
    assert args.vllm_importance_sampling_correction and args.vllm_importance_sampling_mode == "token_truncate"
    assert (args.vllm_importance_sampling_clip_max, args.vllm_importance_sampling_clip_min) == (3.0, None)
    assert args.top_k == 0 and args.trust_remote_code is False
    args = trl_arguments(
        Run(tier="gpu", use_vllm=True, vllm_mode="server", vllm_server="10.0.0.2:9000"), RunFolder(home / "r")
    )
    assert (args.vllm_mode, args.vllm_server_base_url) == ("server", "http://10.0.0.2:9000")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"vllm_mode": "sever"}, "vllm_mode: 'sever' is not one of colocate, server"),
        ({"vllm_memory": 1.5}, "vllm_memory: is a share of a GPU's memory, at most 1, got 1.5"),
        ({"vllm_memory": 0.0}, "vllm_memory: must be above 0"),
        ({"vllm_server": "http://127.0.0.1:8000"}, "vllm_server: wants host:port, such as 127.0.0.1:8000"),
    ],
)
def test_settings_that_cannot_be_are_refused_in_words(changes, said):
    with pytest.raises(ValueError, match=said):
        Run(**changes)


def test_runs_without_vllm_keep_their_names():
    assert Run(tier="mini", seed=2).run_id == "pretrainzero-mini-s2-e713471d"
    assert Run(tier="mini", seed=2, use_vllm=True).run_id != Run(tier="mini", seed=2).run_id


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_trl_builds_the_engine_in_the_runs_dtype_with_the_prefix_cache_on(monkeypatch, dtype):
    built = []
    monkeypatch.setattr(vllm_generation, "LLM", lambda **given: built.append(given), raising=False)
    plain = vllm_generation.LLM
    with as_asked(Run(use_vllm=True, dtype=dtype)):
        vllm_generation.LLM(model="m")
    assert vllm_generation.LLM is plain
    (given,) = built
    assert given["model"] == "m" and given["dtype"] == dtype and given["enable_prefix_caching"] is True
    assert given["load_format"] == "safetensors"
    with as_asked(Run()):
        assert vllm_generation.LLM is plain


def test_trl_itself_names_none_of_what_the_engine_is_given():
    """Were one among TRL's own arguments, TRL's value would win unseen."""
    source = inspect.getsource(vllm_generation.VLLMGeneration._init_vllm)
    call = source[source.index("self.llm = LLM(") : source.index("if self.enable_sleep_mode:")]
    named = set(re.findall(r"^ +(\w+)=", call, flags=re.M))
    assert {"model", "logprobs_mode", "trust_remote_code"} <= named
    assert not named & set(vllm.engine_settings(Run(use_vllm=True)))
    assert 'logprobs_mode="processed_logprobs"' in call and "self.vllm_client = VLLMClient(" in source


def test_the_client_of_a_server_shows_its_token_from_the_first(monkeypatch):
    class Client:
        def __init__(self, base_url):
            self.session = SimpleNamespace(headers={})
            self.check_server()

        def check_server(self):
            self.shown = dict(self.session.headers)

    monkeypatch.setattr(vllm_generation, "VLLMClient", Client)
    monkeypatch.setenv(KEY, "abc")
    monkeypatch.delenv("VLLM_HOST_IP", raising=False)
    with as_asked(Run(use_vllm=True, vllm_mode="server", vllm_server="127.0.0.1:1")):
        assert vllm_generation.VLLMClient(base_url="x").shown == {"Authorization": "Bearer abc"}
    monkeypatch.delenv(KEY)
    with pytest.raises(ValueError, match="vllm_server: no token for 127.0.0.1:1; start it by"):
        with as_asked(Run(use_vllm=True, vllm_mode="server", vllm_server="127.0.0.1:1")):
            pass


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


def test_the_share_of_cut_ratios_counts_the_tokens_in_the_loss(monkeypatch):
    cuts = Cuts(SimpleNamespace(metrics={}))
    ratios = torch.tensor([[3.0, 1.0, 3.0], [3.0, 3.0, 1.0]])
    cuts.count(
        {
            "importance_sampling_ratio": ratios,
            "completion_mask": torch.tensor([[1, 1, 0], [1, 1, 1]]),
            "tool_mask": torch.tensor([[1, 1, 1], [0, 0, 0]]),
        }
    )
    cuts.count({"importance_sampling_ratio": ratios[:1, :2], "completion_mask": torch.tensor([[1, 1]])})
    monkeypatch.setattr("pzlib.engine.vllm.gather_object", lambda own: [*own, (1, 4)])  # another process
    cuts.on_step_end(None, None, None)
    assert cuts.rollout.metrics == {Cuts.NAME: 3 / 8}
    monkeypatch.setattr("pzlib.engine.vllm.gather_object", lambda own: own)
    cuts.on_step_end(None, None, None)
    assert cuts.rollout.metrics == {Cuts.NAME: None}
