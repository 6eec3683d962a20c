"""The processes of one run as threads of a test, which exchange by a list what accelerate would exchange for them."""

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace


def together(count, play, monkeypatch):
    """[play(rank) of each of `count` processes], which all run at the same time and exchange what accelerate would."""
    own, slots, all_here = threading.local(), [None] * count, threading.Barrier(count, timeout=60)

    def exchanged(value):
        slots[own.rank] = value
        all_here.wait()
        found = list(slots)
        all_here.wait()
        return found

    def broadcast(values, from_process):
        return exchanged(values)[from_process]

    def part(rank):
        own.rank = rank
        try:
            return play(rank)
        except BaseException:
            all_here.abort()  # nobody waits for one that failed
            raise

    state = [SimpleNamespace(process_index=rank, num_processes=count) for rank in range(count)]
    with monkeypatch.context() as patch, ThreadPoolExecutor(count) as pool:
        patch.setattr("accelerate.PartialState", lambda: state[own.rank])
        patch.setattr("accelerate.utils.gather_object", lambda values: [v for each in exchanged(values) for v in each])
        patch.setattr("accelerate.utils.broadcast_object_list", broadcast)
        return list(pool.map(part, range(count)))
