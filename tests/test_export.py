"""A finished run becomes a folder that the hub takes; nothing is uploaded without being asked for."""

import json

import huggingface_hub
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from pzlib.__main__ import main
from pzlib.export import export
from pzlib.paths import REPO
from pzlib.run import Run
from pzlib.runs.folder import RunFolder

RUN = Run(tier="smoke", seed=3, learning_rate=1e-4, name="shared")


@pytest.fixture
def finished(tmp_path, monkeypatch):
    monkeypatch.setenv("PZLIB_HOME", str(tmp_path))
    folder = RunFolder(tmp_path / "data/runs/shared").open(RUN, {"corpus_digest": "abc123"})
    model = folder.path / "model"
    AutoModelForCausalLM.from_pretrained(REPO / "data/tinybase_a").save_pretrained(model)
    AutoTokenizer.from_pretrained(REPO / "data/tinybase_a").save_pretrained(model)
    (model / "training_args.bin").write_bytes(b"paths")
    folder.append_eval([
        {"step": step, "task": "add", "group": "math", "n": 20, "correct": right, "accuracy": right / 20} | more
        for step, right, more in ((0, 5, {}), (6, 9, {}), (12, 10, {"k": 4, "low": 0.25, "high": 0.75}))
    ])  # fmt: skip
    folder.set_status("complete", step=12, steps=12)
    return folder


def test_what_is_exported_loads_and_says_what_it_is(finished, tmp_path, capsys):
    assert main(["export", "shared", "-o", str(tmp_path / "out")]) == 0
    out = tmp_path / "out"
    assert str(out) in capsys.readouterr().out
    assert AutoModelForCausalLM.from_pretrained(out).num_parameters() > 0 and AutoTokenizer.from_pretrained(out)
    assert json.loads((out / "params.json").read_text())["seed"] == 3
    assert not (out / "training_args.bin").exists()
    card = (out / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: transformers") and "base_model" not in card  # a local base has no name
    for said in ("| seed | 3 |", "| learning_rate | 0.0001 |", "abc123", "PretrainZero"):
        assert said in card
    # 20 answers, four to each of five questions, with the interval over questions that is stored beside them. Step 6
    # is neither the start nor the end.
    assert "| add | 12 | 5 | 50.0 | 25.0 to 75.0 |" in card
    assert "| add | 0 | 20 | 25.0 | not stored |" in card and "| 6 |" not in card
    assert "micro_batch_rows" not in card
    assert export("shared", out) == out  # a second export replaces the first


def test_what_cannot_be_exported_is_refused_and_nothing_is_lost(finished, tmp_path, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/thesis.tex").write_text("mine")
    with pytest.raises(ValueError, match="output: .* holds other files"):
        export("shared", tmp_path / "full")
    finished.set_status("failed", error="no")
    with pytest.raises(ValueError, match="run: shared: it is failed"):
        export("shared")
    with pytest.raises(ValueError, match="there is no such run"):
        export("none")
    assert main(["export", "shared", "--public"]) == 2 and "--push" in capsys.readouterr().err


def test_an_upload_is_private_and_only_when_asked_for(finished, tmp_path, monkeypatch):
    calls = []

    class Hub:
        def create_repo(self, name, private, exist_ok):
            calls.append((name, private))

        def upload_folder(self, repo_id, folder_path):
            calls.append((repo_id, folder_path.name))

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    assert main(["export", "shared"]) == 0 and calls == []
    assert main(["export", "shared", "--push", "me/mine"]) == 0
    assert calls == [("me/mine", True), ("me/mine", "shared")]
