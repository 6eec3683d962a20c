"""vLLM's engine and client as a run wants them, where TRL leaves it open; and the share of ratios that are cut.
Leaves out quantised caches and sleep: a colocated engine keeps its share of the memory, `vllm_memory`, all the time."""

import contextlib
import gc
import importlib.util
import ipaddress
import json
import os
import secrets
import socket
import sys

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from transformers import TrainerCallback

from pzlib.engine.models import base_of
from pzlib.engine.processes import end_with_parent_for_good
from pzlib.paths import root

KEY = "VLLM_API_KEY"  # vLLM's name; its own check leaves out the paths by which weights are changed
# Log-probabilities of the policy differ between vLLM's kernels and the trainer's, so each token's gradient is weighted
# by p_trainer / p_vllm, cut at this value: TRL's `token_truncate` and its default bound. The papers name none.
IMPORTANCE_CAP = 3.0
_BUILT = []  # of each `ending` that is entered now: the engines that were built within it
LAUNCHER = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # set by TRL as it builds an engine


def command(model, dtype, length, host, port, memory, gpus):
    """vLLM's command line: what TRL asks of a server (`trl.scripts.vllm_serve`), and what a run's engine has."""
    return [
        sys.executable, "-m", "vllm.entrypoints.cli.main", "serve", model, "--host", host, "--port", str(port),
        "--dtype", dtype, "--load-format", "safetensors", "--max-model-len", str(length),
        "--gpu-memory-utilization", str(memory), "--tensor-parallel-size", str(gpus),
        "--enable-prefix-caching", "--middleware", "pzlib.engine.vllm.Guard",
        "--weight-transfer-config", json.dumps({"backend": "nccl"}),
        "--logprobs-mode", "processed_logprobs", "--max-logprobs", "-1",
        *([] if torch.cuda.is_available() else ["--enforce-eager"]),
    ]  # fmt: skip


def serve(source, dtype="bfloat16", length=8192, host="127.0.0.1", port=8000, memory=0.9, gpus=1):
    """Become a server of the model at `source`, a folder or a hub name (`Run.model_source`); never returns.

    The server and its engine end with whoever started it, a shell or a program, however that ends. The token is
    VLLM_API_KEY, else a new one, kept where runs of this machine's user find it. Raises ValueError for a host that
    others can reach without a token of one's own, a port in use, or without vLLM.
    """
    if importlib.util.find_spec("vllm") is None:
        raise ValueError("serve: vLLM is not installed; pip install 'pzlib[vllm]' on a GPU box")
    own = os.environ.get(KEY)
    if not is_loopback(host) and not own:
        raise ValueError(f"host: other machines can reach {host}; set {KEY} to a token of yours, here and for the run")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ValueError(f"port: cannot listen at {host}:{port} ({error.strerror}); give another one") from error
    own = {KEY: own or _new_token(port), "VLLM_SERVER_DEV_MODE": "1"}  # TRL changes weights by paths of this mode
    own |= {"VLLM_HOST_IP": "127.0.0.1"} if is_loopback(host) else {}
    model = base_of(source) or source  # the run hands over what its adapter makes of it
    words = command(model, dtype, length, host, port, memory, gpus)
    end_with_parent_for_good()
    os.execve(words[0], words, os.environ | own)


def token_of(server):
    """The token of the server at `host:port`: VLLM_API_KEY, or what `serve` left. ValueError where there is none."""
    path = _token_file(server.rpartition(":")[2])
    if token := os.environ.get(KEY) or (path.is_file() and path.read_text()):
        return token
    raise ValueError(f"vllm_server: no token for {server}; start it by `python -m pzlib serve MODEL`, or set {KEY}")


def is_loopback(host):
    """Whether only this machine can reach what listens at `host`.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0"), is_loopback("gpu-box")
    (True, True, False, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _token_file(port):
    return root() / f"data/vllm-{port}.token"


def _new_token(port):
    path, token = _token_file(port), secrets.token_urlsafe(32)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(token)
    return token


class Guard:
    """ASGI middleware: 401 for a request without `Authorization: Bearer <VLLM_API_KEY>`, but at /health.

    vLLM 0.31.0 itself asks for the key below /v1 only, not at /update_weights or /collective_rpc. TRL's client asks
    for /health without showing it.
    """

    def __init__(self, app):
        self.app, self.expected = app, f"Bearer {os.environ[KEY]}".encode()

    async def __call__(self, scope, receive, send):
        shown = dict(scope.get("headers", ())).get(b"authorization", b"")
        allowed = scope["type"] == "lifespan" or scope["path"] == "/health"
        if allowed or secrets.compare_digest(shown, self.expected):
            return await self.app(scope, receive, send)
        await send({"type": "http.response.start", "status": 401, "headers": []})
        await send({"type": "http.response.body", "body": b"a token is needed"})


def vllm_arguments(run):
    """What GRPOConfig gets to know of vLLM, whether or not it is used: {argument: value}."""
    return {
        "use_vllm": run.use_vllm,
        "vllm_mode": run.vllm_mode,
        "vllm_gpu_memory_utilization": run.vllm_memory,
        "vllm_max_model_length": run.max_prompt_tokens + run.max_completion_tokens,
        "vllm_server_base_url": f"http://{run.vllm_server}",
        "vllm_importance_sampling_correction": True,
        "vllm_importance_sampling_mode": "token_truncate",  # TRL's sequence_mask drops long completions whole
        "vllm_importance_sampling_clip_max": IMPORTANCE_CAP,
        "vllm_importance_sampling_clip_min": None,
    }


@contextlib.contextmanager
def as_asked(run):
    """Within it TRL builds vLLM's engine, or the client of its server, with what TRL 1.16.0 has no argument for.

    The engine computes in the run's `dtype`; left to itself vLLM reads float32 checkpoints, as every run of ours leaves
    them, as bfloat16. The prefix cache is on: a passage's predictions share the template and all text before the mask.
    The client shows the server's token.
    """
    if not run.use_vllm:
        yield
        return
    from trl.generation import vllm_generation

    name = "LLM" if run.vllm_mode == "colocate" else "VLLMClient"
    plain = getattr(vllm_generation, name)
    if name == "LLM":

        def made(**named):
            engine = plain(**engine_settings(run) | named)
            if _BUILT:
                _BUILT[-1].append(engine)
            return engine

    else:
        token = token_of(run.vllm_server)
        if is_loopback(run.vllm_server.rpartition(":")[0]):
            os.environ.setdefault("VLLM_HOST_IP", "127.0.0.1")  # where the trainer waits to hand weights over

        class WithToken(plain):
            def check_server(self, *args, **kwargs):  # the first thing a client does
                self.session.headers["Authorization"] = f"Bearer {token}"
                super().check_server(*args, **kwargs)

        made = WithToken
    before = {name: os.environ.get(name) for name in LAUNCHER}
    setattr(vllm_generation, name, made)
    try:
        yield
    finally:
        setattr(vllm_generation, name, plain)
        for variable, value in before.items():  # else a notebook takes itself for one of several processes from now on
            os.environ.pop(variable, None) if value is None else os.environ.update({variable: value})


@contextlib.contextmanager
def ending():
    """When it is left, however that is, the engines that were built within it end, and their memory is free again.

    Otherwise an engine would live as long as the process, since vLLM keeps its layers in reach. Of a run on several
    processes it ends with them: its shutdown would take away the process group that they share.
    """
    _BUILT.append([])
    try:
        yield
    finally:
        for engine in _BUILT.pop():
            if PartialState().num_processes == 1:
                engine.llm_engine.engine_core.shutdown()
                del engine.llm_engine
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def engine_settings(run):
    """Arguments of `vllm.LLM` besides TRL's; without a GPU nothing is compiled, it would cost more than it saves."""
    return {
        "dtype": run.dtype,
        "load_format": "safetensors",
        "enable_prefix_caching": True,
        "enforce_eager": not torch.cuda.is_available(),
    }


class Cuts(TrainerCallback):
    """Counts the tokens whose importance ratio is at the cap, and gives their share to the step's metrics.

    rollout: its `metrics` get `sampling/importance_sampling_ratio/truncated`, the share over all processes of the
    tokens in the loss; TRL logs min, mean and max of the same ratios. None where no token was in the loss.
    """

    NAME = "sampling/importance_sampling_ratio/truncated"

    def __init__(self, rollout):
        self.rollout, self.cap = rollout, IMPORTANCE_CAP
        self.cut = self.tokens = 0

    def count(self, inputs):
        """Adds one batch of TRL's: importance_sampling_ratio, completion_mask and tool_mask, all (B, C).

        >>> from types import SimpleNamespace
        >>> cuts = Cuts(SimpleNamespace(metrics={}))
        >>> cuts.count({"importance_sampling_ratio": torch.tensor([[1.0, 3.0, 3.0]]),
        ...             "completion_mask": torch.tensor([[1, 1, 0]])})
        >>> cuts.cut, cuts.tokens
        (1, 2)
        """
        mask = inputs["completion_mask"] * inputs.get("tool_mask", 1)
        self.cut += int(((inputs["importance_sampling_ratio"] >= self.cap) * mask).sum())
        self.tokens += int(mask.sum())

    def on_step_end(self, args, state, control, **_):
        counted = gather_object([(self.cut, self.tokens)])
        cut, tokens = (sum(column) for column in zip(*counted, strict=True))
        self.rollout.metrics[self.NAME] = cut / tokens if tokens else None
        self.cut = self.tokens = 0
