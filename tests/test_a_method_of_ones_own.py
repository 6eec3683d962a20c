"""A method that this file defines is trained, resumed, planned and drawn; nothing in the library knows it."""

import pytest
import torch
from safetensors.torch import load_file

from pzlib import objectives
from pzlib.engine.plan import plan
from pzlib.figures.style import marks_of
from pzlib.figures.training import training_dynamics
from pzlib.game import Block, Objective, Row
from pzlib.prompts import TEMPLATES, predictor_prompt
from pzlib.run import Run
from pzlib.train import train


class Brief(Objective):
    """One group of G answers to each passage, rewarded by how short they are."""

    name, label, paper = "brief", "Brevity", "this file"
    tiers = {"smoke": {"passages": 3}}

    @classmethod
    def groups(cls, run):
        return 1

    @classmethod
    def prompts(cls, run, item):
        return [predictor_prompt(item.text, TEMPLATES[run.template])]

    def fill(self, passages, ask, rng, step=1, read=None):
        texts = [self.prompts(self.run, passage)[0] for passage in passages]
        played = []
        for passage, text, answers in zip(passages, texts, ask(texts), strict=True):
            facts = {"mask": "", "legal": True, "count": None, "kind": "trivial", "position": None}
            rows = [Row.of("predictor", a, text, None, 1 / len(a.ids), facts) for a in answers]
            played.append(Block(passage, rows))
        return played


@pytest.fixture(autouse=True)
def listed(monkeypatch):
    monkeypatch.setattr(objectives, "METHODS", [*objectives.METHODS, Brief])


def test_its_facts_give_the_run_its_sizes():
    run = Run(tier="smoke", objective="brief")
    assert run.method is Brief and (run.passages, run.rows_per_step) == (3, 3 * 4)
    assert run.run_id.startswith("brief-smoke-s0-") and "brief" in Run.choices("objective")


def test_it_trains_two_steps_resumes_bit_for_bit_and_is_drawn(tiny_model, home):
    def run(name):
        sizes = {"steps": 2, "save_every": 1, "eval_every": 1, "max_completion_tokens": 6}
        return Run(tier="smoke", objective="brief", model=str(tiny_model), name=name, **sizes)

    def stops(model, tokenizer, step):
        if step == 1:
            raise RuntimeError("stopped")
        return []

    whole = train(run("whole"))
    with pytest.raises(RuntimeError, match="stopped"):
        train(run("halves"), evaluate=stops)
    halves = train(run("halves"))
    ours, theirs = (load_file(folder.path / "model/model.safetensors") for folder in (whole, halves))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert whole.episodes().equals(halves.episodes()) and set(whole.episodes()["role"]) == {"predictor"}
    assert len(halves.metrics()) == 2 and halves.state() == "complete"

    facts = {"run_id": "whole", "objective": "brief", "tier": "smoke", "seed": 0}
    figure = training_dynamics(whole.metrics().assign(**facts))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["Brevity, all samples"]
    both = marks_of(["pretrainzero", "brief"])
    assert both["brief"].label == "Brevity" and both["brief"].colour != both["pretrainzero"].colour


def test_it_is_planned():
    assert "brief at smoke" in str(plan(Run(tier="smoke", objective="brief")))


@pytest.mark.parametrize("lacks", ["fill", "prompts"])
def test_a_method_that_lacks_a_part_says_which(lacks):
    class Half(Objective):
        pass

    with pytest.raises(NotImplementedError, match=f"^Half: define `{lacks}`, "):
        Half.fill(object.__new__(Half), [], None, None) if lacks == "fill" else Half.prompts(None, None)
