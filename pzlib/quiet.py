"""Keeps the libraries from saying what tells a user nothing: bars for every file, two warnings.
Leaves out everything else they say: an error or a warning of another kind is shown as it comes."""

import contextlib
import logging

from transformers.utils import logging as transformers_logging


def tells_a_user_something(record):
    """False for three messages of the libraries: TRL's, at length, of rows without a reward, which here are
    fillers of illegal masks and dead groups; transformers' of file times, by which it would order checkpoints; and of
    a head that a checkpoint lacks because it is the embedding."""
    said = record.getMessage()
    nothing = ("All reward functions returned None", "mtime may not be reliable", "model loaded: ['lm_head.weight']")
    return not any(words in said for words in nothing)


@contextlib.contextmanager
def quiet():
    """No progress bar for every model read and checkpoint written; what is shown of progress is the
    run's."""
    for name in ("transformers.trainer_utils", "transformers.trainer"):
        logging.getLogger(name).addFilter(tells_a_user_something)
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
