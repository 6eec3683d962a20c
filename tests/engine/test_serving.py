"""The launcher of a vLLM server: loopback, a token on every path, the words that TRL expects."""

import asyncio
import importlib.util
import os
import socket
import sys

import pytest
from trl.scripts.vllm_serve import ScriptArguments, build_command

from pzlib.__main__ import main
from pzlib.engine import vllm
from pzlib.engine.vllm import KEY, Guard, command, serve, token_of


@pytest.fixture
def started(monkeypatch):
    """What would have been started, [program, words, environment]; as if vLLM were installed."""
    calls = []
    monkeypatch.delenv(KEY, raising=False)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: name == "vllm" or find(name, *more))
    monkeypatch.setattr(vllm.os, "execve", lambda *call: calls.append(call))
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
    main(["serve", "data/tinybase", "--dtype", "float32", "--length", "120", "--port", str(port)])
    ((program, words, environment),) = started
    assert program == sys.executable and words[words.index("--host") + 1] == "127.0.0.1"
    assert words[words.index("--port") + 1] == str(port) and words[words.index("--max-model-len") + 1] == "120"
    assert environment["VLLM_HOST_IP"] == "127.0.0.1" and environment["VLLM_SERVER_DEV_MODE"] == "1"
    token = environment[KEY]
    assert len(token) > 30 and token not in words and token_of(f"127.0.0.1:{port}") == token
    (kept,) = (home / "data").glob("*.token")
    assert kept.stat().st_mode & 0o777 == 0o600
    serve("data/tinybase", port=port)
    assert started[1][2][KEY] != token, "a token serves one server"


def test_other_hosts_need_a_token_of_ones_own(started, monkeypatch, capsys):
    assert main(["serve", "data/tinybase", "--host", "0.0.0.0"]) == 2 and not started
    assert f"host: other machines can reach 0.0.0.0; set {KEY} to a token of yours" in capsys.readouterr().err
    monkeypatch.setenv(KEY, "ours")
    serve("data/tinybase", host="0.0.0.0", port=free_port())
    environment = started[0][2]
    assert environment[KEY] == "ours" and environment.get("VLLM_HOST_IP") == os.environ.get("VLLM_HOST_IP")


def test_a_port_in_use_is_refused_in_words_and_its_token_left_alone(started, home):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        token = vllm._new_token(port)
        with pytest.raises(ValueError, match=f"port: cannot listen at 127.0.0.1:{port}"):
            serve("data/tinybase", port=port)
        assert token_of(f"127.0.0.1:{port}") == token


def test_without_vllm_it_says_so():
    with pytest.raises(ValueError, match="serve: vLLM is not installed; pip install"):
        serve("data/tinybase")


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
