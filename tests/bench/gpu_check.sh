#!/usr/bin/env bash
# What one GPU does, in under eight minutes and without a network; rows into data/results/gpu.csv. Without a GPU:
# tests/bench/gpu_check.sh --dry OUT.csv. PYTHON=... names another Python than that of .venv.
set -eu
cd "$(dirname "$0")/../.."
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
exec timeout 480 "${PYTHON:-.venv/bin/python}" -m tests.bench.gpu_check "$@"
