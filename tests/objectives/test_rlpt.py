"""RLPT: which sentence is asked from which sides, how a prediction is read, scored and judged."""

import http.server
import json
import random
import threading
from types import SimpleNamespace

import pytest
from transformers import AutoTokenizer

from pzlib.engine.generation import Answer
from pzlib.masking import Passage
from pzlib.objectives.rlpt import ASR, CLOSING_TAG, MSR, OPENING_TAG, Judge, parse_prediction, sentence_spans
from pzlib.run import Run
from pzlib.runs.episodes import summary
from pzlib.train import train

TEXT = "Anna lives in Rome . Dora has two cats . The river is old ."
BASE = {"tier": "smoke", "objective": "rlpt", "passages": 1, "group": 2}


@pytest.fixture(scope="module")
def tokenizer(tiny_model):
    return AutoTokenizer.from_pretrained(tiny_model)


def play(tokenizer, said, text=TEXT, seed=0, read=None, **settings):
    run = Run(**BASE | {"reward": "exact"} | settings)
    method, asked = run.method(run, [Passage("p", "", text, 14)], tokenizer), []

    def ask(texts):
        asked.extend(texts)
        return [[Answer([5], [*tokenizer(one)["input_ids"], 1], one, 0.1, False) for one in said] for _ in texts]

    (block,) = method.play(method.items, ask, random.Random(seed), read=read)
    return block, asked


def test_the_next_sentence_is_asked_from_those_before_it(tokenizer):
    block, asked = play(
        tokenizer, ["\\boxed{ Dora has two cats . }", "\\boxed{ The river is old . }"], middle_weight=0.0
    )
    first = "Passage : Anna lives in Rome . [mask] Answer :"
    both = "Passage : Anna lives in Rome . Dora has two cats . [mask] Answer :"
    assert set(asked) <= {first, both} and len(block.rows) == 4
    for row in block.rows:
        assert row.episode["reward"] == float(row.episode["prediction"].split() == row.episode["mask"].split())
        assert row.episode["mask"] == (
            "Dora has two cats ." if row.episode["prompt"] == first else "The river is old ."
        )


def test_the_middle_sentence_is_asked_from_both_sides_as_often_as_its_weight_says(tokenizer):
    middle = "Passage : Anna lives in Rome . [mask] The river is old . Answer :"
    prompts = [p for seed in range(200) for p in play(tokenizer, ["no", "box"], seed=seed, middle_weight=1.0)[1]]
    assert 0.4 < sum(p == middle for p in prompts) / len(prompts) < 0.6  # weight / (1 + weight)


def test_a_passage_of_one_sentence_keeps_its_place_with_rows_that_learn_nothing(tokenizer):
    block, asked = play(tokenizer, ["a", "b"], text="Anna lives in Rome .")
    assert not asked and len(block.rows) == 4 and not any(row.in_loss for row in block.rows)


def test_the_papers_tags_are_read_behind_the_reasoning_only():
    box = f"{OPENING_TAG} It rained. {CLOSING_TAG}"
    assert parse_prediction(f"<think>{box}</think>", "paper") is None
    assert parse_prediction(f"<think>{box}", "paper") is None
    assert parse_prediction(f"<think>x</think>{OPENING_TAG}a{CLOSING_TAG} {box}", "paper") == "It rained."


@pytest.mark.parametrize(
    "text", [TEXT, "Is it? Yes! Dr Who ran. ", "貓坐在墊子上。狗走了。", "", "no stop", "3.14 is pi. So."]
)
def test_sentences_cover_the_text(text):
    spans = sentence_spans(text)
    assert "".join(text[s:e] for s, e in spans).replace(" ", "") == text.replace(" ", "")
    assert all(a[1] <= b[0] for a, b in zip(spans, spans[1:], strict=False))


@pytest.mark.parametrize(
    "template, sentence",
    [("tiny", "Dora has } two"), ("tiny", "Dora { has two"), ("paper", f"Dora has {CLOSING_TAG} two cats")],
)
def test_a_sentence_that_the_template_cannot_wrap_is_not_asked_for(tokenizer, template, sentence):
    text = f"Anna lives in Rome . {sentence} . The river is old ."
    prompts = [p for seed in range(20) for p in play(tokenizer, ["a", "b"], text, seed, template=template)[1]]
    before = f"Anna lives in Rome . {sentence} ."
    assert prompts and all(before in prompt for prompt in prompts), "only the last sentence, behind the odd one"


def test_settings_that_do_not_fit_are_refused():
    for settings, words in (
        ({"middle_weight": 1.5}, "middle_weight: must be at most 1"),
        ({"middle_weight": -0.1}, "middle_weight: must be at least 0"),
        ({"reward": "judge"}, "judge: name a model or an endpoint"),
        ({"judge": "data/tinybase_a"}, "judge: name a model or an endpoint"),
    ):
        with pytest.raises(ValueError, match=words):
            Run(**BASE | settings)


def test_the_papers_prompts_word_by_word():
    """Of the second as far as it is quoted."""
    assert ASR.format(before="It rained.") == (
        "Complete the text provided under ### Context by predicting the next most probable sentence. Please reason "
        "step by step to determine the best possible continuation, and then enclose your final answer within "
        "<|startofprediction|> and <|endofprediction|> tags.\n### Context\nIt rained."
    )
    asked = MSR.format(before="It rained.", after="So we left.")
    assert asked.startswith("## Text Material ##:\nIt rained. <MASK> So we left.\n## Task ##: Fill in the <MASK> ")
    assert asked.endswith("for the <MASK> part within <|startofprediction|> and <|endofprediction|>.")


def test_the_paper_tier_is_the_papers():
    """Batch 512, 8 samples, T 1.0, 8192 tokens, 1e-6 constant, no KL, on-policy."""
    run = Run(tier="paper", objective="rlpt")
    assert (run.passages * run.groups_per_block, run.group, run.temperature, run.kl) == (512, 8, 1.0, 0.0)
    assert (run.learning_rate, run.schedule, run.max_completion_tokens) == (1e-6, "constant", 8192)
    assert (run.updates_per_batch, run.template, run.reward) == (1, "paper", "avg_logprob")


@pytest.mark.parametrize("changes", [{}, {"reward": "judge", "judge": "data/tinybase_a"}, {"reward": "exact"}])
def test_two_steps_of_every_reward(changes, home, monkeypatch):
    said = iter(["Score: 1", "Score:0"] * 999)
    monkeypatch.setattr(Judge, "_by_model", lambda self, prompts: [next(said) for _ in prompts])
    run = Run(tier="smoke", objective="rlpt", steps=2, max_completion_tokens=12, name="rlpt", **changes)
    episodes = train(run).episodes()
    assert episodes["reward"].notna().all() and set(episodes["verdict"]) <= {"right", "wrong", "no answer"}
    assert (episodes["mask"].str.split().str.len() >= 3).all()


def test_a_judge_reads_the_next_three_sentences_and_its_word_is_the_reward(tokenizer):
    sentences = ["Anna lives in Rome .", "Dora has two cats .", "The river is old .", "It is red .", "She is tall ."]
    run = Run(**BASE | {"reward": "judge", "judge": "none/such", "middle_weight": 0.0})
    method, seen = run.method(run, [Passage("p", "", " ".join(sentences), 22)], tokenizer), []

    def scores(pairs):
        seen.extend(reference for reference, _ in pairs)
        return [int(prediction.strip() == "yes") for _, prediction in pairs]

    def ask(texts):
        return [[Answer([5], [6, 1], said, 0.1, False) for said in ("\\boxed{ yes }", "\\boxed{ no }")] for _ in texts]

    method.judge = SimpleNamespace(scores=scores)
    for seed in range(12):
        (block,) = method.play(method.items, ask, random.Random(seed))
        assert [row.score for row in block.rows] == [1.0, 0.0] * 2
        assert [row.episode["verdict"] for row in block.rows] == ["right", "wrong"] * 2
    assert set(seen) == {" ".join(sentences[i : i + 3]) for i in range(1, 5)}


def test_what_a_judge_does_not_score_has_no_reward_and_is_counted(tokenizer):
    run = Run(**BASE | {"reward": "judge", "judge": "none/such", "group": 4, "middle_weight": 0.0})
    method = run.method(run, [Passage("p", "", TEXT, 14)], tokenizer)
    words = ["Score: 1", "Score: 0", "It may be."]
    method.judge._by_model = lambda prompts: [words[i % 3] for i in range(len(prompts))]

    def ask(texts):
        return [[Answer([5], [6, 1], said, 0.1, False) for said in ["\\boxed{ a }"] * 3 + ["a"]] for _ in texts]

    (block,) = method.play(method.items, ask, random.Random(0))
    assert [row.score for row in block.rows[:4]] == [1.0, 0.0, None, 0.0]
    assert [row.episode["verdict"] for row in block.rows[:4]] == ["right", "wrong", "not judged", "no answer"]
    assert block.rows[2].episode["advantage"] == 0 < block.rows[0].episode["advantage"]
    found = summary([([row.episode for row in block.rows], [1] * 16, 16, 0, 9)], 4)
    assert found["predictor/reward"] == pytest.approx(1 / 3) and found["verdict/not judged"] == 0.25


def test_a_judge_that_never_scores_or_is_not_there_is_named():
    judge = Judge(Run(**BASE, reward="judge", judge="data/tinybase_a"))
    assert judge.scores([("It rained.", "It")] * 9 + [("It rained.", None)]) == [None] * 9 + [0.0]
    with pytest.raises(RuntimeError, match="judge: data/tinybase_a gives none of 18 predictions a score, .*; name"):
        judge.scores([("It rained.", "It")] * 9)
    with pytest.raises(FileNotFoundError, match="judge: cannot load 'no/such/model'"):
        Judge(Run(**BASE, reward="judge", judge="no/such/model")).scores([("a", "b")])
    run = Run(**BASE, reward="judge", judge="Qwen/Qwen3-0.6B-Base")
    assert run.method.frozen(run) == {"judge": "Qwen/Qwen3-0.6B-Base"}  # which `plan` counts
    at_an_endpoint = Run(**BASE, reward="judge", judge="http://127.0.0.1:1/any")
    assert at_an_endpoint.method.frozen(at_an_endpoint) == {}


def test_a_judge_behind_an_endpoint_and_one_that_does_not_answer():
    kept = [3]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answers = [
                {"text": f"Score: {int('rained' in prompt.rpartition('Prediction')[2])}"} for prompt in asked["prompt"]
            ]
            body = json.dumps({"choices": answers[: kept[0]]} if kept[0] else ["what?"]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}/any"
        judge = Judge(Run(**BASE, reward="judge", judge=address))
        assert judge.scores([("It rained. Then", "It rained."), ("It rained.", "Snow"), ("It rained.", None)]) == [
            1,
            0,
            0,
        ]
        for kept[0], said in ((1, "judge: .* answers 1 of 2 questions; name an"), (0, "judge: .* does not answer")):
            with pytest.raises(RuntimeError, match=said):
                judge.scores([("a", "b"), ("a", "c")])
        server.shutdown()
    with pytest.raises(RuntimeError, match="judge: .* does not answer .*is the server up"):
        judge.scores([("a", "b")])
