r"""The verifier: one bad answer costs its time limit and nothing else, and workers end with whoever started them.
Real workers are started; ordinary cases share one verifier."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from pzlib.paths import REPO
from pzlib.rewards import predictor_reward
from pzlib.verify import MAX_CHARACTERS, WHYS, MathVerifier, Verdict, exact, final_answer

ENDLESS = "$10^{10^{10}}$"  # a number of ten billion digits
SLACK = 8.0  # seconds that a busy machine may add to starting a process


@pytest.fixture(scope="module")
def verifier():
    with MathVerifier(workers=1, seconds=30) as verifier:
        yield verifier


@pytest.fixture
def workers():
    """The worker processes that were started since the test began, as a function."""

    def running():
        return {child for child in psutil.Process().children() if "pzlib.mathjudge" in child.cmdline()}

    before = running()
    return lambda: sorted(running() - before, key=lambda child: child.pid)


def test_exact_is_the_rule_of_the_reward():
    for gold, prediction in [("a b", " a b\n"), ("a", "A"), ("a", ""), ("a", " "), ("a", None), ("", "")]:
        assert exact(gold, prediction).right == bool(predictor_reward(prediction, gold))
    assert [exact("a", said).why for said in ("a", "b", " ", None)] == ["right", "wrong", "no answer", "no answer"]


def test_a_verdict_is_right_where_it_says_so():
    assert Verdict("right").right and not Verdict("timeout").right


def test_order_counts_and_equal_pairs(verifier):
    before = Counter(verifier.counts)
    numbers = list(range(8)) * 3
    verdicts = verifier.grade([f"{n} + x" for n in numbers], [f"x + {n % 5}" for n in numbers])
    assert [verdict.right for verdict in verdicts] == [n < 5 for n in numbers]
    verifier.grade(["1"], [None])
    assert verifier.counts - before == {"right": 15, "wrong": 9, "no answer": 1}
    assert set(verifier.counts) <= set(WHYS)
    assert verifier.grade([], []) == []


def test_an_endless_expression_costs_its_limit_and_nothing_else():
    seconds = 2.0
    with MathVerifier(workers=2, seconds=seconds) as verifier:
        verifier.grade(["1 + x", "2 + x"], ["x", "x"])  # starts both
        golds = ["5"] + [f"x + {n}" for n in range(10)]
        said = [ENDLESS] + [f"{n} + x" for n in range(10)]
        started = time.monotonic()
        whys = [verdict.why for verdict in verifier.grade(golds, said)]
        took = time.monotonic() - started
        assert whys == ["timeout"] + ["right"] * 10
        assert seconds <= took < seconds + SLACK
        # A gold may be endless too, and the worker that was lost is replaced.
        whys = [verdict.why for verdict in verifier.grade([ENDLESS, "x + 11", "x + 12"], ["5", "11 + x", "12 + x"])]
        assert whys == ["timeout", "right", "right"]
        assert verifier.grade(["x + 13"], ["13 + x"])[0].right  # one pair for two idle workers


@pytest.mark.slow
def test_a_worker_that_dies_costs_one_answer(workers):
    with MathVerifier(workers=1, seconds=30) as verifier:
        verifier.grade(["x"], ["y"])
        [worker] = workers()
        threading.Timer(1.0, worker.kill).start()
        whys = [verdict.why for verdict in verifier.grade(["5", "x + 1"], [ENDLESS, "1 + x"])]
        assert whys == ["crashed", "right"]
        [worker] = workers()
        worker.kill()  # an idle one costs none
        time.sleep(0.5)
        assert verifier.grade(["x + 2"], ["2 + x"])[0].right


def _interrupt(after):
    threading.Timer(after, signal.pthread_kill, [threading.main_thread().ident, signal.SIGINT]).start()


def test_an_interrupt_leaves_no_late_reply(workers):
    with MathVerifier(workers=2, seconds=30) as verifier:
        verifier.grade(["x"], ["y"])
        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            _interrupt(0.5)
            verifier.grade(["x + 1"] * 3, [ENDLESS, "1 + x", f"{ENDLESS} + 1"])
        assert time.monotonic() - started < SLACK and workers() == []
        assert [verdict.why for verdict in verifier.grade(["x"], ["2 x"])] == ["wrong"]


def test_an_interrupt_also_ends_a_worker_that_is_just_starting(workers, monkeypatch):
    start = subprocess.Popen
    with MathVerifier(workers=2, seconds=30) as verifier:
        verifier.grade(["x"], ["y"])
        monkeypatch.setattr(subprocess, "Popen", lambda *args, **how: time.sleep(1) or start(*args, **how))
        with pytest.raises(KeyboardInterrupt):
            _interrupt(0.5)
            verifier.grade(["x + 1"] * 2, [ENDLESS, "1 + x"])
        assert workers() == []


def test_any_thread_may_grade(verifier):
    found = {}

    def grade(n):
        found[n] = verifier.grade([f"x + {n}"] * 2, [f"{n} + x", f"{n} - x"])

    threads = [threading.Thread(target=grade, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all([verdict.right for verdict in found[n]] == [True, False] for n in range(4))


def test_a_megabyte_is_refused_unread(workers):
    with MathVerifier() as verifier:
        started = time.perf_counter()
        whys = [v.why for v in verifier.grade(["5", "5" * 2**20], ["(" * 2**20, "5"])]
        assert whys == ["too long", "unparsable gold"]
        assert time.perf_counter() - started < 0.5
        assert verifier.grade(["5"], [" " * (MAX_CHARACTERS - 1) + "5"])[0].right
        assert workers() == []  # no worker was asked, nor for an answer that is the gold to the letter


def test_what_is_no_text_is_named():
    with MathVerifier() as verifier:
        with pytest.raises(TypeError, match="predictions: item 1 is bytes, not text"):
            verifier.grade(["5", "6"], ["5", b"\xff\xfe"])
        for gold in (5, [], ["5", 6], None):
            with pytest.raises(TypeError, match="golds: item 0 is .* not text"):
                verifier.grade([gold], ["5"])
        with pytest.raises(ValueError, match="predictions: 1 for 2 golds"):
            verifier.grade(["5", "6"], ["5"])
    for wrong in ({"workers": 0}, {"seconds": 0}, {"seconds": float("nan")}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            MathVerifier(**wrong)


def test_bad_golds_and_timeouts_are_logged_once(caplog):
    with caplog.at_level(logging.WARNING), MathVerifier(workers=1, seconds=0.5) as verifier:
        verifier.grade(["{", "{", "5"], ["5", "6", "7"])
        verifier.grade(["{", "5"], ["7", ENDLESS])
        assert verifier.counts == {"unparsable gold": 3, "wrong": 1, "timeout": 1}
    assert [record.getMessage() for record in caplog.records] == [
        "unparsable gold: gold '{'",
        f"timeout: gold '5', answer {ENDLESS!r}",
    ]


def test_a_worker_that_cannot_start_is_an_error(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with MathVerifier() as verifier, pytest.raises(RuntimeError, match="a worker could not start"):
        verifier.grade(["5"], ["6"])


def alive(pid):
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks at processes in /proc")
def test_workers_are_bounded(workers):
    with MathVerifier(workers=1) as verifier:
        verifier.grade(["x"], ["y"])
        pid = workers()[0].pid
        limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
        assert any(line.startswith("Max address space") and str(1 << 30) in line for line in limits)
        assert "torch" not in Path(f"/proc/{pid}/maps").read_text()


def test_workers_end_with_the_verifier(workers):
    verifier = MathVerifier(workers=1)
    verifier.grade(["x"], ["y"])
    assert len(workers()) == 1
    del verifier
    assert workers() == []


@pytest.mark.slow
@pytest.mark.parametrize("busy", [False, True])
def test_workers_end_with_a_killed_parent(busy, tmp_path):
    # A script without `if __name__ == "__main__":` is what users write, and must not be run again by its workers.
    script = tmp_path / "script.py"
    script.write_text(f"""
import time
from pzlib.verify import MathVerifier
verifier = MathVerifier(workers=1, seconds=2.0)
verifier.grade(["x"], ["y"])
print("ready", flush=True)
if {busy}:
    verifier.grade(["5"], [{ENDLESS!r}])
time.sleep(60)
""")
    environment = os.environ | {"PYTHONPATH": str(REPO)}
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout.readline() == b"ready\n"
        time.sleep(0.5)
        [worker] = psutil.Process(parent.pid).children()
        parent.kill()
    gone, alive = psutil.wait_procs([worker], timeout=3 + SLACK)  # a busy one rings a second late
    assert gone and not alive


def test_real_answers(real_data):
    """400 real answers in under 60 s; where the benchmark's own grader and ours differ is measured by agreement.py."""
    rows = [json.loads(line) for line in (real_data / "graded/qwen_math_outputs.jsonl").read_text().splitlines()]
    golds = [row["gt"] for row in rows for _ in row["code"]]
    texts = [text for row in rows for text in row["code"]]
    started = time.monotonic()
    with MathVerifier() as verifier:
        verdicts = verifier.grade(golds, [final_answer(text) for text in texts])
    assert time.monotonic() - started < 60
    scores = [bool(score) for row in rows for score in row["score"]]
    assert sum(v.right == score for v, score in zip(verdicts, scores, strict=True)) >= 0.99 * len(scores)
