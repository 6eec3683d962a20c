"""The settings of a run: tiers fill what is left out, everything else is refused in words."""

import copy
import dataclasses
import json
import pickle
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pzlib.masking import MAX_OCCURRENCES
from pzlib.objectives import METHODS
from pzlib.paths import REPO, locate
from pzlib.run import TIERS, Run

FIELDS = {f.name: f for f in dataclasses.fields(Run)}


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("objective", ["pretrainzero", "rlvr", "rpt", "rlp"])
def test_every_tier_gives_every_setting_a_value_of_its_type(tier, objective):
    for name, value in Run(tier=tier, objective=objective).to_dict().items():
        assert type(value) is FIELDS[name].type, name


def test_tiers_name_the_same_settings():
    plain = {f.name for f in FIELDS.values() if f.metadata.get("plain") is not None}  # a tier may name some of these
    assert len({frozenset(set(values) - plain) for values in TIERS.values()}) == 1
    by_tier = [f for f in FIELDS.values() if f.default is None]
    assert set(TIERS["mini"]) - plain == {f.name for f in by_tier if f.metadata["plain"] is None}
    own = {name for method in METHODS for settings in method.tiers.values() for name in settings}
    assert own <= {f.name for f in by_tier}


def test_paper_tier_has_the_papers_numbers():
    run = Run(tier="paper")
    assert (run.model, run.steps, run.learning_rate) == ("Qwen/Qwen3-4B-Base", 2000, 5e-7)
    assert (run.schedule, run.max_prompt_tokens, run.max_completion_tokens) == ("cosine", 1536, 4096)
    assert run.passages * run.groups_per_block == 288
    assert run.rows_per_step == 2304
    assert (run.clip_low, run.clip_high, run.temperature, run.top_p) == (0.2, 0.28, 1.0, 1.0)


def test_rlvr_at_the_paper_tier_is_general_reasoners_recipe():
    run = Run(tier="paper", objective="rlvr")
    assert (run.steps, run.passages, run.group, run.rows_per_step) == (400, 128, 8, 1024)
    assert (run.learning_rate, run.temperature) == (5e-7, 1.0)
    assert (run.max_prompt_tokens, run.max_completion_tokens) == (1024, 8192)
    assert (run.clip_low, run.clip_high, run.clip_dual, run.kl, run.entropy_bonus) == (0.3, 0.3, 10.0, 1e-4, 1e-3)
    assert (run.length_penalty, run.no_answer_reward, run.verifier, run.filter) == (0.05, -0.5, "math", "none")
    assert Run(tier="paper", objective="rlvr", kl=0.0).kl == 0.0


def test_a_run_stands_for_its_models(home):
    (home / "data/runs/mine/model").mkdir(parents=True)
    assert Run(model="mine").model_source == str(home / "data/runs/mine/model")
    assert Run(model="mine@100").model_source == str(home / "data/runs/mine/model-100")
    checkpoint = home / "data/runs/mine/checkpoints/checkpoint-175"
    checkpoint.mkdir(parents=True)
    assert Run(model="mine@175").model_source == str(home / "data/runs/mine/model-175"), "not while it is written"
    (checkpoint / "manifest.json").write_text("{}")
    assert Run(model="mine@175").model_source == str(home / "data/runs/mine/checkpoints/checkpoint-175")
    assert Run(model="other@100").model_source == "other@100"
    assert Run(model="data/tinybase_a").model_source == str(REPO / "data/tinybase_a")


def test_a_passive_block_has_no_group_of_masks():
    run = Run(objective="random_span", group=4, passages=3)
    assert run.groups_per_block == 4
    assert run.rows_per_step == 3 * 4 * 4


def test_a_named_setting_beats_the_tier_and_the_rest_stays():
    run = Run(tier="smoke", steps=3)
    assert run.to_dict() == Run(tier="smoke").to_dict() | {"steps": 3}


def test_the_papers_limit_of_occurrences_is_the_default_of_every_tier():
    assert {Run(tier=tier).max_occurrences for tier in TIERS} == {MAX_OCCURRENCES} == {7}  # "fewer than 8"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"sed": 1}, "sed: no such setting of a run; did you mean seed?"),
        ({"learning_rat": 1.0}, "did you mean learning_rate?"),
        ({"qqqq": 1}, "known: tier, objective"),
        ({"tier": "min"}, "tier: 'min' is not a tier; did you mean mini?"),
        ({"tier": 3}, "tier: wants a str, got the int 3"),
        ({"learning_rate": "1e-6"}, "wants a float, got the str '1e-6'; write it without quotes"),
        ({"seed": True}, "seed: wants an int, got the bool True"),
        ({"steps": 10.0}, "steps: wants an int, got the float 10.0"),
        ({"drop_rows": 1}, "drop_rows: wants a bool, got the int 1"),
        ({"filter": "dropp"}, "filter: 'dropp' is not one of none, drop, refill"),
        ({"group": 1}, "group: must be at least 2, got 1"),
        ({"temperature": 0}, "temperature: must be above 0, got 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate: must be above 0, got nan"),
        ({"max_grad_norm": float("inf")}, "max_grad_norm: must be above 0, got inf"),
        ({"top_p": 1.5}, "top_p: must be at most 1"),
        ({"clip_low": 1.0}, "clip_low: must be below 1"),
        ({"clip_dual": 1.28}, "clip_dual: 1.28 is within the clip range"),
        ({"no_answer_reward": 0.5}, "no_answer_reward: must be at most 0, got 0.5"),
        ({"min_tokens": 90, "max_tokens": 80}, "min_tokens: 90 is above max_tokens 80"),
        ({"corpus": " "}, "corpus: is empty"),
        ({"steps": 5, "random_span_steps": 6}, "random_span_steps: 6 is above steps 5"),
        ({"name": "../up"}, "name: '../up' is not a folder name"),
    ],
)
def test_bad_settings_are_refused_in_words(settings, said):
    with pytest.raises(ValueError) as error:
        Run(**settings)
    assert said in str(error.value)


def test_settings_at_the_edge_of_what_fits_together_are_let_through():
    edge = {"steps": 5, "random_span_steps": 5, "min_tokens": 80, "max_tokens": 80, "top_p": 1.0, "group": 2}
    assert Run(**edge).random_span_steps == 5


@pytest.mark.parametrize("name", [name for name, f in FIELDS.items() if {"at_least", "above"} & {*f.metadata}])
def test_every_number_has_a_floor(name):
    with pytest.raises(ValueError, match=f"^{name}: must be"):
        Run(**{name: FIELDS[name].type(-1)})


@pytest.mark.parametrize("name", ["objective", *(name for name, f in FIELDS.items() if "choices" in f.metadata)])
def test_every_choice_is_closed(name):
    with pytest.raises(ValueError, match=f"^{name}: "):
        Run(**{name: "of no list"})


@given(st.sampled_from(sorted(TIERS)), st.integers(0, 2**31), st.floats(1e-9, 1, allow_subnormal=False))
def test_a_run_survives_json_pickle_and_copy(tier, seed, rate):
    run = Run(tier=tier, seed=seed, learning_rate=rate)
    assert Run.from_dict(json.loads(json.dumps(run.to_dict()))) == run
    assert pickle.loads(pickle.dumps(run)) == copy.deepcopy(run) == run


def test_run_id_tells_runs_apart_and_is_stable():
    run = Run(tier="smoke", seed=3)
    assert run.run_id.startswith("pretrainzero-smoke-s3-")
    assert run.run_id == Run(tier="smoke", seed=3).run_id
    assert run.run_id != Run(tier="smoke", seed=3, learning_rate=1e-5).run_id
    assert Run(learning_rate=1).run_id == Run(learning_rate=1.0).run_id
    assert Run(name="mine").run_id == "mine"


def test_run_folder_lies_under_the_home(home):
    assert Run(name="mine").folder == home / "data/runs/mine"


def test_a_path_is_found_from_any_working_directory(home, tmp_path_factory, monkeypatch):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "texts.txt").write_text("a")
    monkeypatch.chdir(elsewhere)
    assert locate("texts.txt") == str(elsewhere / "texts.txt")
    (home / "texts.txt").write_text("b")
    assert locate("texts.txt") == str(home / "texts.txt")
    assert locate("pyproject.toml") == str(REPO / "pyproject.toml")
    assert locate("wikimedia/wikipedia") == "wikimedia/wikipedia"
    assert Run(corpus=str(elsewhere / "texts.txt")).corpus_source == str(elsewhere / "texts.txt")


def test_importing_the_settings_loads_nothing_heavy():
    code = "import pzlib.run, pzlib.runs.folder, sys; print('torch' in sys.modules, 'matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
