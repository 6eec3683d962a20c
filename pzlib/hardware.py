"""What machines can do, as their makers' data sheets say: memory, bandwidth, arithmetic; by name.
Leaves out links between GPUs, and what a real run reaches: `pzlib.flops` takes a stated share of these."""

import os
from dataclasses import dataclass

from pzlib.refusals import near_names


@dataclass(frozen=True)
class Device:
    """memory in bytes; bandwidth in bytes a second; bf16 and fp32 in floating-point operations a second, dense."""

    memory: float
    bandwidth: float
    bf16: float
    fp32: float
    gpu: bool = True

    @property
    def usable(self):
        """Bytes for tensors: the rest, 8 % by assumption, is the driver's context, workspaces and fragments."""
        return 0.92 * self.memory


GiB, TB, T = 2**30, 1e12, 1e12
DEVICES = {
    "h100-80gb": Device(80 * GiB, 3.35 * TB, 989 * T, 67 * T),
    "h800-80gb": Device(80 * GiB, 3.35 * TB, 989 * T, 67 * T),
    "h200-141gb": Device(141e9, 4.8 * TB, 989 * T, 67 * T),
    "b200-180gb": Device(180e9, 8.0 * TB, 2250 * T, 75 * T),
    "mi300x-192gb": Device(192 * GiB, 5.3 * TB, 1307 * T, 163 * T),
    "a100-80gb": Device(80 * GiB, 2.04 * TB, 312 * T, 19.5 * T),
    "a100-40gb": Device(40 * GiB, 1.56 * TB, 312 * T, 19.5 * T),
    "l40s-48gb": Device(48 * GiB, 0.86 * TB, 362 * T, 91.6 * T),
    "rtx4090-24gb": Device(24 * GiB, 1.01 * TB, 165 * T, 82.6 * T),
    "rtx3090-24gb": Device(24 * GiB, 0.94 * TB, 71 * T, 35.6 * T),
}


def device(name):
    """The Device of that name, with or without its memory; `cpu` is this machine. Raises ValueError for others.

    >>> device("rtx4090") == device("rtx4090-24gb"), device("cpu").gpu
    (True, False)
    """
    if name == "cpu":
        cores = os.cpu_count() or 1  # a core's rates are rough: an AVX2 core of some years ago
        return Device(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), 20e9, 50e9 * cores, 50e9 * cores, False)
    found = [full for full in DEVICES if name in (full, full.rpartition("-")[0])]
    if len(found) != 1:
        raise ValueError(f"hardware: no {name!r}; {near_names(name, [*DEVICES, 'cpu'])}")
    return DEVICES[found[0]]
