"""RLP's figures: readable, with the paper's own numbers on the left and nothing dropped on the right."""

import pandas as pd
import pytest
import synthetic
from readable import assert_readable

from pzlib import studies
from pzlib.figures import paper
from pzlib.figures.run_view import run_view
from pzlib.prompts import TINY

ABLATIONS = ("rlp_rollouts", "rlp_thoughts", "rlp_kl", "rlp_ema")


def training(seeds):
    rows = synthetic.training(("rlp",), seeds=seeds)
    share = rows["step"] / rows["step"].max()
    return rows.assign(**{"thought/empty": 0.5 - 0.4 * share, "thought/naming": 0.1 * share, "predictor/parsed": 1.0})


def perplexity(seeds):
    rows = []
    for arm in studies.study_of("rlp").arms:
        for seed in range(seeds):
            for step in (0, 200):
                for task, level in (("text", 4), ("trivial", 1.5), ("reasoning", 9), ("irreducible", 140)):
                    key = {"run_id": f"{arm}-{seed}", "objective": "rlp", "tier": "mini", "seed": seed, "step": step}
                    rows.append(key | {"arm": arm, "task": task, "perplexity": level + (step > 0) * (0.1 + seed / 50)})
    return pd.DataFrame(rows)


@pytest.mark.parametrize("seeds", [1, 5])
def test_figures_are_readable(seeds):
    assert_readable(paper.thoughts(training(seeds)))
    assert_readable(paper.perplexities(perplexity(seeds)))


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("name", ABLATIONS)
def test_ablations_stand_beside_the_papers(name, seeds):
    arms = tuple(studies.study_of(name).arms)
    rows = synthetic.tinybench(arms, seeds=seeds)
    figure = paper.ablation_beside(rows.assign(arm=rows["objective"]))
    assert_readable(figure)
    left, right = figure.axes
    printed = {"rlp_rollouts": 4, "rlp_thoughts": 7, "rlp_kl": 3, "rlp_ema": 4}[name]
    assert len(left.lines[0].get_xdata()) == printed == len(left.get_xticklabels())
    ticks = [label.get_text() for label in right.get_xticklabels()]
    assert ticks == [arm.rpartition(" ")[2] for arm in arms]


def test_the_view_of_a_run_shows_rewards_that_are_no_shares():
    metrics = training(1).assign(**{"predictor/reward": -2.0})
    figure = run_view(metrics, synthetic.episodes()[:0], title="RLP", template=TINY)
    assert figure.axes[0].get_ylim()[0] < -2


def test_the_perplexity_of_the_base_is_that_of_step_0():
    figure = paper.perplexities(perplexity(2))
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels[0] == "Base" and len(labels) == 1 + len(studies.study_of("rlp").arms)
    assert [ax.get_title("left") for ax in figure.axes] == list(paper.CLASSES.values())
