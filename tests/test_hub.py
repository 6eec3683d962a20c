"""The hub: asked once, for seconds, without a word; where it does not answer, only what was downloaded counts."""

import time
from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub import constants

from pzlib import hub


@pytest.mark.parametrize("seconds", [0, 60])
def test_a_hub_that_does_not_answer_is_found_out_in_seconds_and_quietly(seconds, monkeypatch, capfd, caplog):
    def head(*_, **__):
        time.sleep(seconds)
        raise OSError("Name or service not known")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "_offline_by_choice", lambda: False)
    monkeypatch.setattr(huggingface_hub, "get_session", lambda: SimpleNamespace(head=head))
    began = time.monotonic()
    with pytest.raises(FileNotFoundError, match="against: cannot load 'no/such': .* the hub does not answer"):
        hub.of_hub("no/such", "against")
    assert time.monotonic() - began < 5 and constants.HF_HUB_OFFLINE
    assert (*capfd.readouterr(), caplog.text) == ("", "", "")


def test_a_hub_that_answers_is_asked_for_the_model(monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub, "_offline_by_choice", lambda: False)
    monkeypatch.setattr(huggingface_hub, "get_session", lambda: SimpleNamespace(head=lambda *_, **__: "any answer"))
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *asked: tmp_path.joinpath(*asked))
    assert hub.of_hub("a/b") == tmp_path / "a/b/config.json" and not constants.HF_HUB_OFFLINE
