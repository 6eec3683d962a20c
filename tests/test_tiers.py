"""Each tier's world: hub names, splits and columns as their publishers have them, pinned here."""

import json
import subprocess
import sys

import pytest

from pzlib.engine.memory import SHIPPED
from pzlib.evaluation.benchmarks import BENCHMARKS, PAPERS
from pzlib.objectives import METHODS
from pzlib.run import Run
from pzlib.tiers import LIMO, OPENWEBMATH, TIERS, WORLDS

HUB = {  # name, config, split, column(s), size
    ("wikimedia/wikipedia", "20231101.en", "train", "text", 6_407_814),
    ("GAIR/MathPile", "", "train", "text", None),
    ("KbsdJames/Omni-MATH", "", "test", "problem+solution", 4428),
    ("TIGER-Lab/WebInstruct-verified", "", "train", "question", "answer", None),
}
OWN = {  # of methods: the same, and what a row holds
    ("open-web-math/open-web-math", "", "train", "text", 6_315_233): {"url", "text", "date", "metadata"},
    ("GAIR/LIMO", "", "train", "question", "answer", 817): {"question", "solution", "answer"},
}
ASKED = {  # name, split, columns of the question, of the gold, size; several: as different copies have them
    "mmlu_pro": ("TIGER-Lab/MMLU-Pro", "test", "question", "answer", 12_032),
    "supergpqa": ("m-a-p/SuperGPQA", "train", "question", "answer_letter answer", 26_529),
    "bbeh": ("BBEH/bbeh", "train", "input question", "target answer", 4_520),
    "math500": ("HuggingFaceH4/MATH-500", "test", "problem question", "answer", 500),
    "olympiadbench": (
        "Hothan/OlympiadBench:OE_TO_maths_en_COMP", "train", "problem question", "final_answer answer", None,
    ),
    "gsm8k": ("openai/gsm8k:main", "test", "problem question", "answer", 1_319),
    "minerva": ("math-ai/minervamath", "test", "problem question", "answer solution", 272),
    "amc23": ("math-ai/amc23", "test", "problem question", "answer", 40),
    "aime24": ("HuggingFaceH4/aime_2024", "train", "problem question", "answer", 30),
    "aime25": ("math-ai/aime25", "test", "problem question", "answer", 30),
}  # fmt: skip
RLPS = {  # science sets of RLP's tables
    "mmlu": ("cais/mmlu:all", "test", "question", "answer", 14_042),
    "gpqa": ("Idavidrein/gpqa:gpqa_diamond", "train", "question", "answer", 198),
}  # fmt: skip


def facts(name):
    own = BENCHMARKS[name]
    return own.hub, own.split, " ".join(own.question), " ".join(own.gold), own.size


@pytest.mark.parametrize("tier", ["gpu", "paper"])
def test_hub_sets_have_the_names_splits_and_columns_that_are_published(tier):
    world = WORLDS[tier]
    texts = (world.general, world.mathematical, world.clean, world.problems)
    assert {(*text.settings().values(), text.size) for text in texts} == HUB
    assert {name: facts(name) for name in world.benchmarks} == ASKED
    assert {name: facts(name) for name in RLPS} == RLPS
    for name, own in BENCHMARKS.items():  # a part, or the same asked oftener, is of the same set
        whole = own.part_of or name.removesuffix("_1of4")
        assert (own.hub, own.split) == (BENCHMARKS[whole].hub, BENCHMARKS[whole].split)
    assert set(world.benchmarks) == set(PAPERS) and world.curve in BENCHMARKS


def test_what_methods_read_beside_their_tier_is_pinned_too():
    """Every data set of the hub that some method names at some tier, and that its columns are there."""
    assert {(*text.settings().values(), text.size) for text in (OPENWEBMATH, LIMO)} == OWN.keys()
    named = {settings.get(name) for method in METHODS for settings in method.tiers.values()
             for name in ("corpus", "solutions")}  # fmt: skip
    named = {name for name in named if name and "/" in name}
    assert {key[0] for key in OWN} < named <= {key[0] for key in (*HUB, *OWN)}
    quiet, mixed = (Run(tier="paper", objective=name) for name in ("quiet_star", "mixed_sft"))
    web, limo = OWN.values()
    assert quiet.corpus_column in web and {mixed.question_column, mixed.solution_column} <= limo
    assert (quiet.corpus_split, quiet.corpus_config, quiet.corpus_limit) == ("train", "", 1000)


def test_a_tier_has_a_world_and_its_runs_read_it():
    assert WORLDS.keys() == TIERS.keys()
    for tier, world in WORLDS.items():
        run, rlvr = Run(tier=tier), Run(tier=tier, objective="rlvr")
        assert (run.model, run.corpus, run.corpus_config) == (world.base, world.general.name, world.general.config)
        assert world.problems.settings().items() <= rlvr.to_dict().items()
        assert world.small == (run.template == "tiny")
    assert WORLDS["paper"].clean.settings().items() <= Run(tier="paper", objective="rpt").to_dict().items()


def test_the_papers_models_are_those_whose_sizes_are_shipped_and_a_proxy_reads_the_same_tokens():
    configs = {name: entry["config"] for name, entry in json.loads(SHIPPED.read_text()).items()}
    paper = WORLDS["paper"]
    assert {paper.base, paper.smaller, *paper.sizes, *paper.proxies, *paper.proxies.values()} <= configs.keys()
    for world in WORLDS.values():
        for model, proxy in world.proxies.items():
            families = {configs[name]["model_type"] for name in (model, proxy) if name in configs}
            assert len(families) == (0 if world.small else 1)
    assert paper.smaller_settings == {"random_span_steps": 100}  # PretrainZero, section 4.1


def test_tiers_load_without_a_heavy_library():
    code = "import sys, pzlib.tiers; print(sorted({'torch', 'numpy', 'pandas'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
