"""A server for `vllm_mode="server"`: vLLM's own, on loopback, that wants a token on every path but /health.
Leaves out encryption: to other machines the token goes in plain text, so the network between must be one's own."""

import hashlib
import importlib.util
import ipaddress
import json
import os
import secrets
import socket
import sys

from pzlib import run as settings

KEY = "VLLM_API_KEY"  # vLLM's name; its own check leaves out the paths by which weights are changed


def command(model, dtype, length, host, port, memory, gpus, compiles=True):
    """vLLM's command line: what TRL asks of a server (`trl.scripts.vllm_serve`), and what a run's engine has."""
    words = [
        sys.executable, "-m", "vllm.entrypoints.cli.main", "serve", model,
        "--host", host, "--port", str(port),
        "--dtype", dtype, "--load-format", "safetensors", "--max-model-len", str(length),
        "--gpu-memory-utilization", str(memory), "--tensor-parallel-size", str(gpus),
        "--enable-prefix-caching", "--middleware", "pzlib.serving.Guard",
        "--weight-transfer-config", json.dumps({"backend": "nccl"}),
        "--logprobs-mode", "processed_logprobs", "--max-logprobs", "-1",
    ]  # fmt: skip
    return words if compiles else [*words, "--enforce-eager"]


def serve(model, dtype="bfloat16", length=8192, host="127.0.0.1", port=8000, memory=0.9, gpus=1):
    """Become a server of `model` (as of a Run); never returns.

    The token is VLLM_API_KEY, else a new one, kept where runs of this machine's user find it. Raises ValueError for a
    host that others can reach without a token of one's own, a port in use, or without vLLM.
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
    told = {KEY: own or _new_token(port), "VLLM_SERVER_DEV_MODE": "1"}  # TRL changes weights by paths of this mode
    if is_loopback(host):
        told["VLLM_HOST_IP"] = "127.0.0.1"
    import torch

    from pzlib.adapters import base_of

    source = settings.Run(model=model).model_source
    source = base_of(source) or source  # the run hands over what its adapter makes of it
    words = command(source, dtype, length, host, port, memory, gpus, compiles=torch.cuda.is_available())
    os.execve(words[0], words, os.environ | told)


def token_of(server):
    """The token of the server at `host:port`: VLLM_API_KEY, or what `serve` left. ValueError where there is none."""
    path = _token_file(server.rpartition(":")[2])
    token = os.environ.get(KEY) or (path.read_text() if path.is_file() else "")
    if not token:
        raise ValueError(
            f"vllm_server: no token for {server}; start it by `python -m pzlib serve MODEL`, or set {KEY} to its token"
        )
    return token


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
    return settings.ROOT / f"data/vllm-{port}.token"


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
        self.app, self.expected = app, _digest(f"Bearer {os.environ[KEY]}".encode())

    async def __call__(self, scope, receive, send):
        shown = dict(scope.get("headers", ())).get(b"authorization", b"")
        allowed = scope["type"] == "lifespan" or scope["path"] == "/health"
        if allowed or secrets.compare_digest(_digest(shown), self.expected):
            return await self.app(scope, receive, send)
        await send({"type": "http.response.start", "status": 401, "headers": []})
        await send({"type": "http.response.body", "body": b"a token is needed"})


def _digest(text):
    return hashlib.sha256(text).digest()  # of one length, so that comparing tells nothing of it
