"""vLLM's engine and client as a run wants them, where TRL leaves it open; and the share of ratios that are cut.
Leaves out quantised caches and sleep: a colocated engine keeps its share of the memory, `vllm_memory`, all the time."""

import contextlib
import functools
import os

import torch
from accelerate.utils import gather_object
from transformers import TrainerCallback

from pzlib.serving import is_loopback, token_of

# Log-probabilities of the policy differ between vLLM's kernels and the trainer's, so each token's gradient is weighted
# by p_trainer / p_vllm, cut at this value: TRL's `token_truncate` and its default bound. The papers name none.
IMPORTANCE_CAP = 3.0


def vllm_arguments(run):
    """What GRPOConfig is told of vLLM, whether or not it is used: {argument: value}."""
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

    if run.vllm_mode == "colocate":
        name, made = "LLM", functools.partial(vllm_generation.LLM, **engine_settings(run))
    else:
        name, made = "VLLMClient", _with_token(vllm_generation.VLLMClient, token_of(run.vllm_server))
        if is_loopback(run.vllm_server.rpartition(":")[0]):
            os.environ.setdefault("VLLM_HOST_IP", "127.0.0.1")  # where the trainer waits to hand weights over
    plain = getattr(vllm_generation, name)
    setattr(vllm_generation, name, made)
    try:
        yield
    finally:
        setattr(vllm_generation, name, plain)


def engine_settings(run):
    """Arguments of `vllm.LLM` besides TRL's; without a GPU nothing is compiled, it would cost more than it saves."""
    return {
        "dtype": run.dtype,
        "load_format": "safetensors",
        "enable_prefix_caching": True,
        "enforce_eager": not torch.cuda.is_available(),
    }


def _with_token(client, token):
    class WithToken(client):
        def check_server(self, *args, **kwargs):  # the first thing a client does
            self.session.headers["Authorization"] = f"Bearer {token}"
            super().check_server(*args, **kwargs)

    return WithToken


class Cuts(TrainerCallback):
    """Counts the tokens whose importance ratio stands at the cap, and gives their share to the step's metrics.

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
