"""What several processes draw at random, drawn as one process would: each in its turn, or its own slice of the whole.
Leaves out what vLLM's engine draws, which is its own affair."""

from contextlib import contextmanager

from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object


def place(count):
    """(how many of something lie before this process's `count`, in order of rank; how many all processes have).

    All processes call it at the same time.

    >>> place(3)
    (0, 3)
    """
    counts = gather_object([count])
    return sum(counts[: PartialState().process_index]), sum(counts)


@contextmanager
def in_turn(rng):
    """Within it this process draws from `rng`, a random.Random, where the one before it stopped; afterwards the `rng`
    of every process stands where the last one's does. All processes enter it at the same time.

    >>> import random
    >>> with in_turn(random.Random(0)) as rng:
    ...     rng.randint(1, 6)
    4
    """
    state = PartialState()
    for rank in range(state.num_processes):
        if rank == state.process_index:
            yield rng
        (reached,) = broadcast_object_list([rng.getstate()], from_process=rank)
        rng.setstate(reached)
