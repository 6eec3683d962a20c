"""What a method is: the facts that its file in `pzlib.objectives` gives, all of which load without torch.
Leaves out behaviour: `pzlib.game.Objective` adds rollouts, `pzlib.objectives.supervised` rows to learn."""

from pzlib.prompts import TEMPLATES


class Method:
    """What a method is, as facts that load without torch: one subclass a method, listed in `pzlib.objectives.METHODS`.

    An instance is one run of it: `Method(run, items, tokenizer, folder, model)`, on Passages or Problems, the `items`.
    Its `metrics` holds the numbers of the last step, by the names of metrics.jsonl.
    """

    name = ""  # as `Run.objective` gives it
    label = ""  # as tables and figures show it
    paper = ""
    tiers: dict = {}  # tier -> {setting: default}, where the method differs from its tier
    loss: dict = {}  # arguments of TRL's config, where the method differs from PretrainZero
    supervised = False  # on TRL's SFTTrainer: no rollouts, no rewards
    reads_problems = False  # items are Problems with a gold answer, not Passages
    rewards = ("exact",)  # those of `Run.reward` that fit what it asks
    has_generator = False  # a block opens with a group of masks
    reads_shared_prompts = False  # a shared prompt is read once in training even where no row may be dropped
    callbacks = ()  # TrainerCallbacks of its own
    compute_loss = None  # of a supervised one, `(model, inputs, processes)`; None: TRL's likelihood of its rows
    evaluation = "small_world"  # what is asked of it along training, see `pzlib.evaluation`

    def __init__(self, run, items, tokenizer, folder=None, model=None):
        self.run, self.tokenizer, self.folder = run, tokenizer, folder
        self.items, self.metrics = list(items), {}
        self.by_id = {item.id: item for item in self.items}
        self.template = TEMPLATES[run.template]

    @classmethod
    def groups(cls, run):
        """Groups of G rows that one passage or problem gets."""
        return run.group + cls.has_generator

    @classmethod
    def check(cls, run):
        """ValueError, naming the setting and the remedy, for settings that do not go together in this method."""

    @classmethod
    def load_items(cls, run, tokenizer, progress=False):
        """The Corpus that a run reads; errors as those of `load_passages`."""
        from pzlib.corpus import load_passages

        return load_passages(
            run.corpus_source, limit=run.corpus_limit, seed=run.seed, config=run.corpus_config or None,
            split=run.corpus_split, column=run.corpus_column, tokenizer=tokenizer, min_tokens=run.min_tokens,
            max_tokens=run.max_tokens, progress=progress,
        )  # fmt: skip

    @classmethod
    def prompts(cls, run, item):
        """The longest prompts that an item leads to: it is left out where one is above `max_prompt_tokens`."""
        raise NotImplementedError(f"{cls.__name__}: define `prompts`, the longest that an item leads to")

    def save_beside(self, folder):
        """Write what the method learned besides the model into the folder of a model that is kept."""

    def begin_step(self, step):
        """Called as the trainer begins `step`, which counts from 1."""

    @classmethod
    def stop_words(cls, run):
        """Strings that end a completion, beside the end token; of the template's forms, whatever ends its examples."""
        end = TEMPLATES[run.template].end
        return [end] if end else []

    @classmethod
    def frozen(cls, run):
        """{name: model} of the copies held beside the policy; None for a copy of the policy's own start."""
        return {}

    @classmethod
    def needs_whole_weights(cls, run):
        """(what no process can do alone where weights are sharded, the setting that avoids it), or None."""
        return None
