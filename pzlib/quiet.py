"""Keeps the libraries from saying what tells a user nothing: bars for every file, two warnings.
Leaves out everything else they say: an error or a warning of another kind is shown as it comes."""

import contextlib
import logging

from transformers.utils import logging as transformers_logging


def tells_a_user_something(record):
    """False for two messages of the libraries: TRL's, at length, of rows without a reward, which here are
    fillers of illegal masks and dead groups; and transformers' of file times, by which it would order
    checkpoints."""
    said = record.getMessage()
    return "All reward functions returned None" not in said and "mtime may not be reliable" not in said


@contextlib.contextmanager
def quiet():
    """No progress bar for every model read and checkpoint written; what is shown of progress is the
    run's."""
    logging.getLogger("transformers.trainer_utils").addFilter(tells_a_user_something)
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
