"""How a step's rows are shared: among processes, into micro-batches, into the sequences that a model reads at once.
Leaves out the tensors, which `pzlib.engine.packing` and `pzlib.engine.sampling` have: this is arithmetic, without torch."""


ROLLOUT_TOKENS = 200_000  # prompt and completion tokens that grow at once: bounds the key-value cache's memory

TOKENS_AT_ONCE = 2048  # of a forward pass on a CPU: larger ones fall out of its cache



def shares(run, processes=1):
    """(rows of a process, rows of one forward and backward); the latter divides the former.

    Raises ValueError where processes would cut a block.

    >>> from pzlib.run import Run
    >>> shares(Run(tier="paper"), 8)
    (288, 4)
    """
    local, rest = divmod(run.rows_per_step, processes)
    block = 1 if run.method.supervised else run.groups_per_block * run.group
    if rest or local % block:
        raise ValueError(
            f"passages: {run.passages} a step cannot be shared among {processes} processes without "
            f"cutting one's rows; give a multiple of {processes}"
        )
    return local, next(n for n in range(min(run.micro_batch_rows, local), 0, -1) if local % n == 0)



def longest(hidden):
    """Tokens of a sequence up to which its dense attention costs no more than the matrix products that it spares."""
    return 4 * hidden



def groups_at_once(run):
    """Groups whose completions transformers grows at once."""
    return max(1, ROLLOUT_TOKENS // (run.max_prompt_tokens + run.group * run.max_completion_tokens))



def growing(run, rows):
    """Groups that do grow at once, of the `rows` of a process that are asked together."""
    return min(groups_at_once(run), max(1, rows // run.group))



def packed(run):
    """Whether shared prompts are read once in training: where rows may be dropped, and of thoughts."""
    return not run.method.supervised and (run.drop_rows or run.method.reads_shared_prompts)



def reading(run, hidden, local, micro, prompt, completion, on_cpu=False):
    """[(sequences, tokens of each)]: what one micro-batch reads, call by call, if no row is dropped.

    prompt, completion: tokens of each row. TRL shuffles a step's rows before it cuts micro-batches, so rows of one
    group meet in a micro-batch only where that is the whole step; elsewhere each is taken to come alone.

    >>> from pzlib.run import Run
    >>> reading(Run(tier="mini"), 128, 288, 288, 80, 24, on_cpu=True)  # 36 groups of 8
    [(7, 271), (7, 271), (7, 271), (7, 271), (7, 271), (1, 271)]
    >>> reading(Run(tier="paper"), 2560, 288, 4, 1536, 4096)
    [(4, 5631)]
    """
    if not packed(run):
        return [(micro, prompt + completion)]
    if micro < local:
        lengths = [prompt - 1 + completion] * micro
    else:
        fit = max(1, (longest(hidden) - prompt + 1) // completion)  # branches of one sequence
        group = [prompt - 1 + min(fit, run.group - done) * completion for done in range(0, run.group, fit)]
        lengths = sorted(group * (micro // run.group))
    if not on_cpu:
        return [(len(lengths), lengths[-1])]
    calls = [[]]
    for length in lengths:  # as `pzlib.engine.packing.batches`
        if calls[-1] and (len(calls[-1]) + 1) * length > TOKENS_AT_ONCE:
            calls.append([])
        calls[-1].append(length)
    return [(len(call), call[-1]) for call in calls]
