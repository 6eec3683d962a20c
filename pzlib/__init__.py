"""Reinforcement pretraining on plain text, with the text itself as the verifier: PretrainZero and its neighbours.
Leaves out everything heavy: importing the package loads no torch, each module is imported where it is used."""

import os
import warnings

# TRL reports every trainer to the hub, which a workbench should not; and from a thread that reads the environment while
# accelerate rewrites it, where now and then (once in some hundred runs here) a process died. "0" turns it on again.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

# GNU's OpenMP, which torch brings, lets a thread spin 300,000 times before it sleeps: on cores that others use too, a
# step took twenty times as long as with 1,000, which on idle ones cost a tenth (data/results/threads.csv).
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

# tqdm's advice to install widgets; the bars are text, here and in the executed copy of a notebook
warnings.filterwarnings("ignore", message="IProgress not found")
