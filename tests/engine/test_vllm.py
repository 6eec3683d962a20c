"""What TRL and vLLM get of a run, and the server: loopback, a token on every path, the words of TRL.
Without vLLM itself, which `make test-vllm` has."""

import asyncio
import importlib.util
import inspect
import os
import re
import socket
import sys
from types import SimpleNamespace

import pytest
import torch
from trl.generation import vllm_generation
from trl.scripts.vllm_serve import ScriptArguments, build_command

from pzlib.__main__ import main
from pzlib.engine import vllm
from pzlib.engine.vllm import KEY, Cuts, Guard, as_asked, command, serve, token_of
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
        ({"vllm_memory": 1.5}, "vllm_memory: must be at most 1, got 1.5"),
        ({"vllm_memory": 0.0}, "vllm_memory: must be above 0"),
        ({"vllm_server": "http://127.0.0.1:8000"}, "vllm_server: wants host:port, such as 127.0.0.1:8000"),
    ],
)
def test_settings_that_cannot_be_are_refused_in_words(changes, said):
    with pytest.raises(ValueError, match=said):
        Run(**changes)


def test_runs_without_vllm_keep_their_names():
    assert Run(tier="mini", seed=2).run_id == "pretrainzero-mini-s2-01dfb895"
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


def test_a_notebook_is_no_process_of_several_after_a_run_with_vllm(monkeypatch):
    def build():
        os.environ |= {"LOCAL_RANK": "0", "WORLD_SIZE": "1"}  # as TRL does

    monkeypatch.setattr(vllm_generation, "LLM", build, raising=False)
    monkeypatch.setattr(vllm, "engine_settings", lambda run: {})
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "4")
    with as_asked(Run(use_vllm=True)):
        vllm_generation.LLM()
    assert "LOCAL_RANK" not in os.environ and os.environ["WORLD_SIZE"] == "4"


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


@pytest.fixture
def started(monkeypatch):
    """What would have been started, [program, words, environment]; as if vLLM were installed."""
    calls = []
    monkeypatch.delenv(KEY, raising=False)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: name == "vllm" or find(name, *more))
    monkeypatch.setattr(vllm.os, "execve", lambda *call: calls.append(call))
    monkeypatch.setattr(vllm, "end_with_parent_for_good", lambda: None)  # it would bind this process
    return calls


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_the_server_gets_every_word_that_trl_would_give_it():
    trls = build_command(ScriptArguments(model="m", host="127.0.0.1", dtype="bfloat16", max_model_len=8192))
    ours = command("m", "bfloat16", 8192, "127.0.0.1", 8000, 0.9, 1)
    assert ours[:5] == trls[:5] and "--trust-remote-code" not in ours
    pairs = set(zip(ours, ours[1:], strict=False))
    assert ("--middleware", "pzlib.engine.vllm.Guard") in pairs and ("--load-format", "safetensors") in pairs
    # what TRL only repeats of vLLM's defaults: one replica, the cache's dtype, the model's code, the log
    defaults = ("--data-parallel-size", "--kv-cache-dtype", "--model-impl", "--uvicorn-log-level")
    for name, value in zip(trls, trls[1:], strict=False):
        if name.startswith("--") and not value.startswith("--") and name not in defaults:
            assert (name, value) in pairs, name


def test_it_listens_on_loopback_with_a_token_that_runs_find(started, home):
    port = free_port()
    main(["serve", "data/tinybase_a", "--dtype", "float32", "--length", "120", "--port", str(port)])
    ((program, words, environment),) = started
    assert program == sys.executable and words[words.index("--host") + 1] == "127.0.0.1"
    assert words[words.index("--port") + 1] == str(port) and words[words.index("--max-model-len") + 1] == "120"
    assert environment["VLLM_HOST_IP"] == "127.0.0.1" and environment["VLLM_SERVER_DEV_MODE"] == "1"
    token = environment[KEY]
    assert len(token) > 30 and token not in words and token_of(f"127.0.0.1:{port}") == token
    (kept,) = (home / "data").glob("*.token")
    assert kept.stat().st_mode & 0o777 == 0o600
    serve("data/tinybase_a", port=port)
    assert started[1][2][KEY] != token, "a token serves one server"


def test_other_hosts_need_a_token_of_ones_own(started, monkeypatch, capsys):
    assert main(["serve", "data/tinybase_a", "--host", "0.0.0.0"]) == 2 and not started
    assert f"host: other machines can reach 0.0.0.0; set {KEY} to a token of yours" in capsys.readouterr().err
    monkeypatch.setenv(KEY, "ours")
    serve("data/tinybase_a", host="0.0.0.0", port=free_port())
    environment = started[0][2]
    assert environment[KEY] == "ours" and environment.get("VLLM_HOST_IP") == os.environ.get("VLLM_HOST_IP")


def test_a_port_in_use_is_refused_in_words_and_its_token_left_alone(started, home):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        token = vllm._new_token(port)
        with pytest.raises(ValueError, match=f"port: cannot listen at 127.0.0.1:{port}"):
            serve("data/tinybase_a", port=port)
        assert token_of(f"127.0.0.1:{port}") == token


def test_without_vllm_it_says_so():
    with pytest.raises(ValueError, match="serve: vLLM is not installed; pip install"):
        serve("data/tinybase_a")


@pytest.mark.parametrize(
    ("path", "shown", "status"),
    [
        ("/health", None, 200),
        ("/update_weights", None, 401),
        ("/collective_rpc", b"Bearer wrong", 401),
        ("/v1/completions", b"abc", 401),
        ("/health/../update_weights", None, 401),
        ("/update_weights", b"Bearer abc", 200),
    ],
)
def test_every_path_but_health_wants_the_token(monkeypatch, path, shown, status):
    monkeypatch.setenv(KEY, "abc")
    said = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})

    async def send(message):
        said.append(message)

    headers = [] if shown is None else [(b"authorization", shown)]
    asyncio.run(Guard(app)({"type": "http", "path": path, "headers": headers}, None, send))
    assert said[0]["status"] == status
