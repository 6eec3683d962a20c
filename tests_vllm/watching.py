"""Looks over the shoulder of a run with vLLM: are its log-probabilities those of the model being trained?"""

from dataclasses import dataclass, field

import torch

from pzlib import game
from pzlib.engine import generation
from pzlib.objectives import rlp


@dataclass
class Watched:
    """What each call for answers showed: the step, the largest difference from transformers, the weights then."""

    calls: list = field(default_factory=list)  # (step, largest |log p of vLLM - log p of transformers|, tokens)
    weights: dict = field(default_factory=dict)  # of each step, before its update
    completions: list = field(default_factory=list)  # token ids, as vLLM drew them
    trainer: object = None
    config: object = None  # vLLM's, of the engine's model
    prefixes: dict = field(default_factory=dict)  # vLLM's counters of its prefix cache

    def differences(self):
        """The largest difference of each step."""
        return {step: max(d for s, d, _ in self.calls if s == step) for step in sorted({s for s, _, _ in self.calls})}


def watch(monkeypatch):
    """A Watched, filled while runs go on."""
    seen, ask = Watched(), generation.ask

    def watched(run, tokenizer, texts, trainer, *more):
        answers = ask(run, tokenizer, texts, trainer, *more)
        step, model = trainer.state.global_step + 1, trainer.accelerator.unwrap_model(trainer.model)
        seen.trainer = trainer
        if hasattr(trainer.vllm_generation, "llm"):  # it ends with the run
            llm = trainer.vllm_generation.llm
            seen.config = llm.llm_engine.model_config
            counters = llm.get_metrics() if llm.llm_engine.log_stats else []
            seen.prefixes = {metric.name: metric.value for metric in counters if "prefix_cache" in metric.name}
        seen.weights[step] = {name: weight.detach().clone() for name, weight in model.named_parameters()}
        rows = [answer for group in answers for answer in group]
        seen.completions += [answer.ids for answer in rows]
        apart = [
            torch.tensor(answer.logprobs) - log_probs(model, answer.prompt_ids, answer.ids, run.temperature)
            for answer in rows
        ]
        if rows:
            seen.calls.append((step, float(torch.cat(apart).abs().max()), sum(map(len, apart))))
        return answers

    for module in (game, rlp):
        monkeypatch.setattr(module, "ask", watched)
    return seen


@torch.no_grad()
def log_probs(model, prompt, ids, temperature):
    """Of each token of a completion, by a forward pass of its own."""
    training = model.training
    model.eval()
    logits = model(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1].float() / temperature
    model.train(training)
    return torch.log_softmax(logits, -1).gather(1, torch.tensor(ids)[:, None])[:, 0]
