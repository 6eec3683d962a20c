"""G answers to each of some texts, from the model being trained: the one place that touches TRL's way of generating.
Several processes draw what one process would draw. Leaves out chat templates: a prompt is raw text."""

import hashlib
import random
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True)
class Answer:
    """One completion of a prompt."""

    prompt_ids: list[int]
    ids: list[int]  # of the completion, with the end token where one was drawn
    text: str  # without the end token
    entropy: float  # mean nats a token
    clipped: bool  # cut at max_completion_tokens
    logprobs: list[float] | None = None  # of the drawn tokens; None without vLLM


def ask(run, tokenizer, texts, trainer, generator, stop=None):
    """For each text a list of G Answers, by vLLM or our sampler; all processes call it at the same time.

    stop: ids of tokens that end an answer besides the end token, and stay in it; None: those that hold one of the
    method's `stop_words`, at which the answer's text is cut. vLLM has the words from the method.
    """
    from pzlib.engine.memory import groups_at_once
    from pzlib.engine.models import bare
    from pzlib.engine.sampling import sample

    before, total = place(len(texts))
    if not total:
        return []
    G, prompts = run.group, tokenizer(texts)["input_ids"] if texts else []
    words = run.method.stop_words(run) if stop is None else ()
    ends = [*trainer.eos_token_ids, *(holding(tokenizer, tuple(words)) if stop is None else stop)]
    if trainer.use_vllm:
        ids, logprobs = _by_vllm(prompts, G, trainer, generator)
        # vLLM gives no distribution; minus the drawn tokens' log-probabilities estimates its entropy unbiasedly.
        entropy = [-sum(p or 0.0 for p in row) / len(row) for row in logprobs]
        clipped = [row[-1] not in ends for row in ids]
    else:
        model = bare(trainer.accelerator.unwrap_model(trainer.model_wrapped))
        with trainer.accelerator.autocast():
            drawn = sample(
                model, prompts, G, max_new_tokens=run.max_completion_tokens, eos_ids=ends,
                pad_id=tokenizer.pad_token_id, temperature=run.temperature, top_p=run.top_p, generator=generator,
                place=(before, total), max_rows=G * groups_at_once(run, len(texts)),
            )  # fmt: skip
        ids, entropy, clipped = drawn.completion_ids, drawn.entropy, drawn.clipped
        logprobs = [None] * len(ids)
    if not texts:  # others asked
        return []
    decoded = spoken(tokenizer, ids, clipped, words)
    each = [p for p in prompts for _ in range(G)]
    answers = [Answer(*columns) for columns in zip(each, ids, decoded, entropy, clipped, logprobs, strict=True)]
    return [answers[i : i + G] for i in range(0, len(answers), G)]


@lru_cache(maxsize=4)
def holding(tokenizer, words):
    """The ids of all tokens that hold one of the strings of the tuple `words`; none for an empty one."""
    if not words:
        return ()
    every = tokenizer.batch_decode([[i] for i in range(len(tokenizer))], clean_up_tokenization_spaces=False)
    return tuple(i for i, token in enumerate(every) if any(word in token for word in words))


def spoken(tokenizer, ids, clipped, words=()):
    """The texts of completions in token ids, without the end token where they are not `clipped`, and up to the first of
    `words`: the token that ended an answer may hold its last letters too.
    """
    # Only the end token goes: a tokenizer may call `\mask{` special, and skipping special tokens would eat it.
    stops = set(holding(tokenizer, tuple(words)))
    shown = [row if cut or row[-1] in stops else row[:-1] for row, cut in zip(ids, clipped, strict=True)]
    texts = tokenizer.batch_decode(shown, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    for word in words:
        texts = [text.partition(word)[0] for text in texts]
    return texts


def _by_vllm(prompts, G, trainer, generator):
    """(token ids, their log-probabilities) of G answers to each prompt; all processes call it at the same time.

    A colocated engine draws from torch's random numbers, for which TRL sets the same seed in every run: here they start
    from `generator`, so that seeds differ and a step repeats itself after a kill. A server's draws are its own.
    """
    import torch
    from accelerate.utils import gather_object

    seed = int(torch.randint(2**62, (), generator=generator)) + trainer.accelerator.process_index
    device, asked = trainer.accelerator.device, prompts
    if trainer.vllm_mode == "server":  # TRL gives each process an equal part of what the server answers
        most = max(gather_object([len(prompts)]))
        asked = prompts + [trainer.eos_token_ids[:1]] * (most - len(prompts))
    if not asked:
        return [], []
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        repeated = [p for p in asked for _ in range(G)]
        _, ids, logprobs, _ = trainer.vllm_generation.generate(prompts=repeated, images=None, num_generations=G)
    rows = slice(len(prompts) * G)
    return [list(row) for row in ids[rows]], [[token[0] for token in row] for row in logprobs[rows]]


def place(count):
    """(how many of something come before this process's `count`, in order of rank; how many all processes have).

    All processes call it at the same time.

    >>> place(3)
    (0, 3)
    """
    from accelerate import PartialState
    from accelerate.utils import gather_object

    counts = gather_object([count])
    return sum(counts[: PartialState().process_index]), sum(counts)


def own_part(count):
    """The slice of `count` things, in order of rank, that is this process's where all share them.

    >>> own_part(3)
    slice(0, 3, None)
    """
    from accelerate import PartialState

    each, rest = divmod(count, PartialState().num_processes)
    rank = PartialState().process_index
    start = rank * each + min(rank, rest)
    return slice(start, start + each + (rank < rest))


@contextmanager
def in_turn(rng):
    """Within it this process draws from `rng`, a random.Random, where the one before it stopped; afterwards the `rng`
    of every process is where the last one's is. All processes enter it at the same time.

    >>> import random
    >>> with in_turn(random.Random(0)) as rng:
    ...     rng.randint(1, 6)
    4
    """
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    state = PartialState()
    for rank in range(state.num_processes):
        if rank == state.process_index:
            yield rng
        (reached,) = broadcast_object_list([rng.getstate()], from_process=rank)
        rng.setstate(reached)


def order(items, seed, count):
    """Ids of the first `count` items of a run: its seeded shuffle, epoch after epoch. ValueError for doubled ids."""
    ids = [item.id for item in items]
    if len(set(ids)) < len(ids):
        doubled = next(i for i in ids if ids.count(i) > 1)
        raise ValueError(f"id: {doubled!r} names several passages; give every passage an id of its own")
    found, epoch = [], 0
    while len(found) < count:
        shuffled = list(ids)
        random.Random(seed_of(seed, "order", epoch)).shuffle(shuffled)
        found += shuffled
        epoch += 1
    return found[:count]


def seed_of(*parts):
    """A 63-bit seed from any values, the same on every machine.

    >>> seed_of(0, "step", 3) == seed_of(0, "step", 3) != seed_of(0, "step", 4)
    True
    """
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big") >> 1
