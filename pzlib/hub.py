"""The Hugging Face hub: whether a name can be one of it, whether it answers, where a model's configuration is.
Leaves out the loading of models and data sets: their own libraries do that."""

import contextlib
import functools
import re
import sys
import threading
from pathlib import Path

from pzlib.errors import near_names
from pzlib.paths import REPO, root


def misspelt(name):
    """Why `name`, which is not a path, cannot be a hub name either: a message with a remedy; None where it may be one.

    The hub takes its time to say no, so this is asked first.

    >>> misspelt("data/tinybse_a").startswith("there is no data/tinybse_a; did you mean tinybase_a")
    True
    >>> misspelt("Qwen/Qwen3-4B-Base")
    """
    run_id = name.partition("@")[0]
    of_a_run = re.fullmatch(r".+-(smoke|mini|gpu|paper)-s\d+(-\w+)?", run_id)
    if of_a_run and not (root() / "data/runs" / run_id).is_dir():
        return "no run of that name is in data/runs"
    head, _, tail = name.rpartition("/")
    inside = [base / head for base in (root(), REPO) if head and (base / head).is_dir()]
    if inside:
        return f"there is no {name}; {near_names(tail, sorted(path.name for path in inside[-1].iterdir()))}"
    return None


def of_hub(name, setting="model"):
    """The path of a hub model's config.json, fetched or cached; FileNotFoundError, within seconds, without one."""
    import huggingface_hub

    answers = hub_answers()
    try:
        return Path(huggingface_hub.hf_hub_download(name, "config.json"))
    except (OSError, ValueError) as error:  # the hub has a class for each reason
        why = "the hub has none; check the name" if answers else "the hub does not answer; check name and network"
        raise FileNotFoundError(f"{setting}: cannot load {name!r}: not a folder or run here, and {why}") from error


def hub_answers(seconds=3):
    """Whether the hub answers in time. Where it does not, its libraries only look into their caches, and quietly."""
    from huggingface_hub import constants, get_session

    constants.HF_HUB_OFFLINE, answered = _offline_by_choice(), []

    def ask():
        with contextlib.suppress(Exception):
            answered.append(get_session().head(constants.ENDPOINT, timeout=seconds))

    thread = threading.Thread(target=ask, daemon=True)  # looking up an address knows no time limit
    thread.start()
    thread.join(seconds)
    constants.HF_HUB_OFFLINE = not answered
    if "datasets" in sys.modules:  # which copies it
        sys.modules["datasets"].config.HF_HUB_OFFLINE = not answered
    return bool(answered)


@functools.cache
def _offline_by_choice():
    from huggingface_hub import constants

    return constants.HF_HUB_OFFLINE
