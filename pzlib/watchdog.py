"""Ends a training that has stopped moving and says where it stood: the stacks of all threads, the run marked failed.
Leaves out slowness: all it knows is that no part of a step has ended for as long as the run allows."""

import contextlib
import faulthandler
import os
import signal
import sys
import threading
import time

from transformers import TrainerCallback

GRACE = 30  # seconds that a training has to end by itself, once it was interrupted


class Watchdog(TrainerCallback):
    """Each event of the trainer is a sign of life; after `run.watchdog_minutes` without one, training is ended.

    folder: the RunFolder, which gets `stacks.rank<rank>.txt` and the state failed. A thread interrupts the main one,
    which trains, as Ctrl-C would, and `watching` makes of it a TimeoutError in words; where the main thread does not
    come back from what it waits for, the process ends. One that keeps even Python's lock ends too, later. The clock
    runs on while a process is stopped by hand, and a disk that blocks for ever blocks this too.
    """

    def __init__(self, run, folder, rank=0):
        self.minutes, self.folder, self.rank = run.watchdog_minutes, folder, rank
        self.path = folder.path / f"stacks.rank{rank}.txt"
        self.said, self._ended, self._file = "", threading.Event(), None

    @contextlib.contextmanager
    def watching(self):
        """While entered, the training must move. Raises TimeoutError, with the remedy, when it did not."""
        if not self.minutes:
            yield
            return
        with open(self.path, "w") as self._file:
            self.beat()
            thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
            thread.start()
            try:
                yield
            except BaseException as error:
                if self.said:  # what the interrupt became on its way
                    raise TimeoutError(self.said) from error
                raise
            finally:
                self._ended.set()
                faulthandler.cancel_dump_traceback_later()
                thread.join()
                if not self.said:
                    self.path.unlink()

    def beat(self):
        """A sign of life."""
        self._last = time.monotonic()
        if self._file and not self._ended.is_set():
            # of the C library: it needs no lock of Python's, comes after the thread had its turn, and ends the process
            faulthandler.dump_traceback_later(60 * self.minutes + 2 * GRACE, exit=True, file=self._file)

    def _watch(self):
        while not self._ended.wait(min(1.0, 15 * self.minutes)):
            if time.monotonic() - self._last > 60 * self.minutes:
                self._end()
                return

    def _end(self):
        faulthandler.dump_traceback(self._file, all_threads=True)
        self.said = (
            f"no part of a step ended for {self.minutes:g} minutes; where it stood is in {self.path}. Start it again "
            "to go on from its last checkpoint; where steps take that long, raise watchdog_minutes"
        )
        with contextlib.suppress(OSError):  # a dead disk may be what it waits for
            self.folder.set_status("failed", error=f"TimeoutError: {self.said}")
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)  # it wakes a wait, as Ctrl-C does
        if not self._ended.wait(GRACE):
            print(self.said, file=sys.stderr, flush=True)
            os._exit(1)

    def on_step_begin(self, args, state, control, **_):
        self.beat()

    on_substep_end = on_step_end = on_log = on_save = on_evaluate = on_pre_optimizer_step = on_step_begin
