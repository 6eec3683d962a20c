"""What the tests on real vLLM share: its settings for two cores, a home to write runs to, weights it can take back."""

import os

os.environ |= {
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_NUM_THREADS": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
}

import pytest
import torch


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """No test writes into the repository: data/runs lies under a temporary home, in subprocesses too."""
    monkeypatch.setenv("PZLIB_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture(autouse=True)
def plain_linear(monkeypatch):
    """vLLM for processors packs linear weights as it loads them, and cannot take new ones afterwards; a GPU's can."""
    from vllm.model_executor.layers import utils

    def keep(layer, remove_weight):
        layer.cpu_linear = torch.nn.functional.linear

    monkeypatch.setattr(utils, "dispatch_cpu_unquantized_gemm", keep)
