"""One process trains a run: a lock on its folder, which goes with the process, however it ends.
Leaves out disks that have no locks: there the folder's status alone keeps starts apart."""

import contextlib
import errno
import fcntl

UNKNOWN = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP)  # what a cluster's disk without locks says


@contextlib.contextmanager
def held(folder):
    """While entered, no other process trains in this RunFolder, even one that was started in the same moment.

    Raises ValueError where another holds it.
    """
    folder.path.mkdir(parents=True, exist_ok=True)
    with open(folder.path / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(folder.taken()) from None
        except OSError as error:
            if error.errno not in UNKNOWN:
                raise
        yield
