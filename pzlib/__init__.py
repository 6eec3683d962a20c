"""Reinforcement pretraining on plain text, with the text itself as the verifier: PretrainZero and its neighbours.
Leaves out everything heavy: importing the package loads no torch, each module is imported where it is used."""

import os
import time
import warnings

# TRL reports every trainer to the hub, which a workbench should not; and from a thread that reads the environment while
# accelerate rewrites it, where now and then (once in some hundred runs here) a process died. "0" turns it on again.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")


def openmp_spins(load="/proc/loadavg"):
    """How often a thread of GNU's OpenMP, which torch brings, looks for work before it sleeps: "1000" times where cores
    are free for this process's threads, else "0" (times: data/results/threads.csv). No digit depends on it.

    load: its fourth field counts the tasks of the machine that run, or wait for a core, at this moment; load averages
    lag a minute. The middle of three looks within 4 ms is taken. Without such a count, as on macOS: "1000".
    """
    try:
        cores, running = os.cpu_count(), []
        threads = int(os.environ.get("OMP_NUM_THREADS", "").partition(",")[0] or cores)
        for _ in range(3):
            with open(load) as file:
                running.append(int(file.read().split()[3].partition("/")[0]))
            time.sleep(0.002)
    except (OSError, ValueError, IndexError):
        return "1000"
    return "0" if sorted(running)[1] - 1 + threads > cores else "1000"


# OpenMP itself would take 300,000. A child chooses anew: its parent's choice is of another moment.
if "OMP_WAIT_POLICY" not in os.environ and os.environ.get("GOMP_SPINCOUNT") == os.environ.get("PZLIB_SPINS"):
    os.environ["GOMP_SPINCOUNT"] = os.environ["PZLIB_SPINS"] = openmp_spins()

# tqdm's advice to install widgets; the bars are text, here and in the executed copy of a notebook
warnings.filterwarnings("ignore", message="IProgress not found")
