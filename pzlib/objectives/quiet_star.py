"""Quiet-STaR (arXiv:2403.09629): a thought after every token, paid for how much likelier it makes the true next ones.
Evaluation reads the model without its thoughts; what they add is measured on each step's text before it is learned."""

import time

from pzlib.engine.generation import seed_of
from pzlib.objectives.pretrainzero import PretrainZero
from pzlib.objectives.supervised import Supervised
from pzlib.tiers import OPENWEBMATH

# The code's defaults: 12 tokens, 4 true ones, 2 thoughts, 8 texts of open-web-math, rate 1e-6 after 20 steps, decay
# 0.001, the policy's weight 1e6, the marks' scale 100. Its 1,000 texts are 125 steps. The small sizes are ours.
_SMALL = {"group": 2, "max_completion_tokens": 4, "passages": 8, "micro_batch_rows": 1}
_CODE = {
    "model": "mistralai/Mistral-7B-v0.1", **OPENWEBMATH.settings(),
    "corpus_limit": 1000, "steps": 125, "group": 2, "max_completion_tokens": 12, "passages": 8, "max_tokens": 255,
    "max_prompt_tokens": 512, "micro_batch_rows": 1, "learning_rate": 1e-6, "schedule": "constant",
    "warmup_steps": 20, "weight_decay": 0.001, "policy_weight": 1e6, "thought_scale": 100.0,
}  # fmt: skip
_SIZES = ("group", "max_completion_tokens", "passages", "max_tokens", "micro_batch_rows", "policy_weight",
          "thought_scale")  # fmt: skip
REINFORCE_TEMPERATURE = 3.0  # of the thought's own log-probabilities in the loss; the paper's code


def gains(talked):
    """Rewards of the thoughts at one place: log p of the true tokens after each, minus the mean over all, none below 0.

    talked (..., G) in nats. Negative ones are left out for stability, as the paper's code does (`clamp(min=0)`).

    >>> import torch
    >>> gains(torch.tensor([[-1.0, -3.0, -2.0, -6.0]])).tolist()
    [[2.0, 0.0, 1.0, 0.0]]
    """
    return (talked - talked.mean(-1, keepdim=True)).clamp(min=0)


def mixed(bare, after, weight):
    """log p (..., V) of the prediction between that without and that with a thought, `weight` of the latter.

    Logits are mixed and normalised again, so that it is a distribution.

    >>> import torch
    >>> half = mixed(torch.tensor([0.0, 0.0]), torch.tensor([2.0, 0.0]), torch.tensor(0.5))
    >>> [round(p, 3) for p in half.exp().tolist()]  # 1 / (1 + 1 / e)
    [0.731, 0.269]
    """
    return ((1 - weight) * bare + weight * after).log_softmax(-1)


def losses(found, thoughts):
    """{name: sum over the places of a text} of what `pzlib.engine.thoughts.read` found; each is a mean over a place's G
    thoughts.

    nll: nats a true token, of the mixed prediction. policy: -(gain) x log p of a thought's tokens, a mean over them,
    the gain being a constant (REINFORCE). Then numbers without gradients: nll_without, gain, weight.
    """
    import torch

    wanted = found["targets"]  # (T, talk)
    there = (wanted != -100)[:, None].float()  # (T, 1, talk)
    index, counts = wanted.clamp(min=0)[:, None, :, None], there.sum(-1)  # counts (T, 1): at least one
    logp = mixed(found["bare"][:, None].float(), found["after"].float(), found["weight"][..., None])  # (T, G, talk, V)
    logp = logp.gather(-1, index.expand(*logp.shape[:3], 1))[..., 0] * there  # (T, G, talk)
    gain = gains(logp.detach().sum(-1))  # (T, G)
    own = (found["thought"].float() / REINFORCE_TEMPERATURE).log_softmax(-1)
    own = own.gather(-1, thoughts[..., None])[..., 0].mean(-1)  # (T, G)
    with torch.no_grad():
        bare = found["bare"].float().log_softmax(-1)[:, None].gather(-1, index)[..., 0] * there
    values = {
        "nll": -logp.sum(-1) / counts, "policy": -gain * own, "nll_without": -bare.sum(-1) / counts, "gain": gain,
        "weight": found["weight"][..., 0].detach(),
    }  # fmt: skip
    return {name: value.mean(-1).sum() for name, value in values.items()}


class QuietSTaR(Supervised):
    """`passages` texts a step; G thoughts of `max_completion_tokens` tokens after each token, all in parallel.

    A thought is sampled between a learned start and a learned end, both initialised from the dash "---"; after its end
    the next `talk_tokens` true tokens are predicted, each from the true ones before it. A mixing head weighs the two
    predictions, with the thought and without. The loss is the mixed prediction's, in nats a token, plus `policy_weight`
    times REINFORCE on the thought's tokens. A step's loss is a mean over all its places.

    * Ours, where we know no word of the paper: the head looks at the states of the text token and of the
      thought's end, once for all `talk_tokens`; a thought has a fixed length; G thoughts are sampled at each place of
      one reading (the code makes `n_passes` of them).
    * No row can be dropped: a place whose gains are all 0 still has the prediction to learn.
    * The head is saved beside the weights (`thoughts.safetensors`), in every checkpoint and model; a run of this method
      that starts from such a model goes on with it. All else (TinyBench, benchmarks, vLLM) reads the plain model:
      whether learning to think left a better one. What thoughts add is in `thought/nll_with` against
      `thought/nll_without`, of text that was not learned yet in the first pass over it.
    """

    name, label, paper = "quiet_star", "Quiet-STaR", "arXiv:2403.09629"
    prompts = PretrainZero.prompts
    tiers = {
        "smoke": _SMALL | {"passages": 2}, "mini": _SMALL, "paper": _CODE,
        "gpu": {name: _CODE[name] for name in _SIZES},
    }  # fmt: skip

    def __init__(self, run, items, tokenizer, folder=None, model=None):
        super().__init__(run, items, tokenizer, folder)
        from pzlib.engine import thoughts

        dash = tokenizer("---", add_special_tokens=False)["input_ids"]
        self.head = thoughts.Head(model, dash, run.thought_scale, seed_of(run.seed, "thoughts"))
        self.head.load(run.model_source)
        thoughts.attach(model, self.head)
        self.callbacks, self.sums = (thoughts.HeadKept(self.head), _measuring(self)), []

    @classmethod
    def groups(cls, run):
        return 1

    @classmethod
    def check(cls, run):
        if run.lora_rank:
            raise ValueError("lora_rank: adapters would leave the mixing head untrained; set it to 0")

    @classmethod
    def needs_whole_weights(cls, run):
        return "sample thoughts", None

    @classmethod
    def reading(cls, run, hidden, prompt):
        """[(sequences, tokens of each)] of one micro-batch's loss: a text, and its branches in lines of some length."""
        from pzlib.engine.memory import LONGEST

        width = run.max_completion_tokens + 1 + run.talk_tokens
        fit = max(1, (LONGEST * hidden - prompt) // width)
        lines = -(-prompt * run.group // fit)
        return [(run.micro_batch_rows, prompt)] + [(1, prompt + fit * width)] * (lines * run.micro_batch_rows)

    def save_beside(self, folder):
        self.head.save(folder)

    def collate(self, picked):
        """TRL's batch: the numbers of the rows, counted over the whole run."""
        import torch

        return {"row": torch.tensor([pick["row"] for pick in picked])}

    def begin_step(self, step):
        super().begin_step(step)
        self.places = sum(len(own) - 1 for _, own in self.rows(step))
        self.metrics["tokens_prompt"], self.sums = self.metrics["tokens_completion"], []
        self.metrics["tokens_completion"] = self.places * self.run.group * self.run.max_completion_tokens

    def compute_loss(self, model, inputs, processes=1):
        """The part of a step's loss that the rows of one micro-batch are; times the number of processes, over which
        the trainer takes the mean."""
        import torch

        from pzlib.engine import thoughts
        from pzlib.engine.models import bare

        run, size, total = self.run, self.run.rows_per_step, self.head.marks.sum() * 0
        plain = bare(getattr(model, "module", model))
        for row in inputs["row"].tolist():
            own = self.rows(1 + row // size)[row % size][1]
            if len(own) < 2:
                continue
            ids = torch.tensor(own, device=plain.device)
            generator = torch.Generator().manual_seed(seed_of(run.seed, "thought", row))  # whoever reads the row
            uniforms = torch.rand(len(own) - 1, run.group, run.max_completion_tokens, generator=generator)
            started = time.perf_counter()
            drawn = thoughts.grow(plain, self.head, ids, uniforms, run.temperature)
            self.metrics["seconds_generation"] += time.perf_counter() - started
            found = losses(thoughts.read(model, self.head, ids, drawn, run.talk_tokens), drawn)
            total = total + found["nll"] + run.policy_weight * found["policy"]
            self.sums.append({name: value.item() for name, value in found.items()})
        return total * processes / max(1, self.places)


def _measuring(method):
    """A callback that puts the means over a step's places, all processes', into the method's metrics."""
    from accelerate.utils import gather_object
    from transformers import TrainerCallback

    names = {"nll": "nll_with", "nll_without": "nll_without", "gain": "reward", "weight": "weight", "policy": "policy"}

    class Measuring(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            sums = gather_object(method.sums)
            for name, shown in names.items():
                found = sum(own[name] for own in sums) / max(1, method.places) if sums else None
                method.metrics[f"thought/{shown}"] = found

    return Measuring()
