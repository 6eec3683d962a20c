"""The live view: a picture in place in a kernel, lines in a terminal, from files, never in a run's way."""

import sys
from itertools import pairwise
from types import SimpleNamespace

import pandas as pd
import pytest
import synthetic
from readable import assert_readable
from synthetic import fill

from pzlib.figures import live
from pzlib.run import Run
from pzlib.runs.folder import Interrupted, RunFolder, training

PNG = b"\x89PNG\r\n\x1a\n"


class Display:
    """What IPython's display would be asked to show."""

    def __init__(self, monkeypatch):
        self.shown = []
        import IPython
        import IPython.display

        def display(image, display_id=None):
            self.shown.append(("new", image.data))
            return SimpleNamespace(update=lambda image: self.shown.append(("in place", image.data)))

        monkeypatch.setattr(IPython.display, "display", display)
        monkeypatch.setattr(IPython, "get_ipython", lambda: SimpleNamespace(kernel=object()))


def test_in_a_terminal_it_is_one_line_a_step(tmp_path, capsys):
    live.LiveView(seconds=0).update(fill(tmp_path / "run"), 3, 12)
    line = capsys.readouterr().out
    assert line.startswith("step 3 of 12 · predictor: reward 0.") and line.count("\n") == 1
    assert "generator: reward" in line and "without signal" in line and line.endswith("about 4 s left\n")


def test_in_a_notebook_one_picture_is_redrawn_in_place(tmp_path, monkeypatch):
    display, folder = Display(monkeypatch), fill(tmp_path / "run")
    view = live.LiveView(seconds=0)
    for step in (1, 2, 3):
        view._next = 0.0  # as if enough time had passed
        view.update(folder, step, 12)
    view.close(folder)
    assert [how for how, _ in display.shown] == ["new"] + ["in place"] * 3
    assert all(data.startswith(PNG) for _, data in display.shown)
    assert (folder.path / "view.png").read_bytes() == display.shown[-1][1]


def test_pictures_take_at_most_a_tenth_of_the_time(tmp_path, monkeypatch):
    display, folder = Display(monkeypatch), fill(tmp_path / "run")
    view, clock = live.LiveView(seconds=3.0), [100.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: clock[0])
    drawn = live.picture

    def slow(*args):
        clock[0] += 2.0  # a picture that takes two seconds
        return drawn(*args)

    monkeypatch.setattr(live, "picture", slow)
    times = []
    for _ in range(100):
        before = len(display.shown)
        view.update(folder, 1, 12)
        times += [clock[0]] if len(display.shown) > before else []
        clock[0] += 1.0
    assert all(later - earlier >= 20 for earlier, later in pairwise(times)) and len(times) > 2


def test_of_many_episodes_only_the_latest_step_is_read(tmp_path, monkeypatch):
    folder, asked = fill(tmp_path / "run"), []
    read = RunFolder.episodes
    monkeypatch.setattr(RunFolder, "episodes", lambda self, steps=None: asked.append(steps) or read(self, steps))
    live.LiveView().close(folder)
    assert asked == [[3]]


def test_a_view_that_fails_does_not_stop_the_run(tmp_path, capsys):
    folder = fill(tmp_path / "run")
    (folder.path / "metrics.jsonl").write_text("no json\n")
    live.LiveView(seconds=0).update(folder, 3, 12)
    assert "live view: step 3 could not be shown (JSONDecodeError" in capsys.readouterr().out


def test_a_run_without_generator_or_without_a_step_is_shown_too(tmp_path):
    for name, objective, steps in (("passive", "random_span", 2), ("new", "pretrainzero", 0)):
        folder = fill(tmp_path / name, objective, steps)
        live.LiveView().close(folder)
        assert (folder.path / "view.png").read_bytes().startswith(PNG)


def test_the_title_tells_method_seed_step_and_time(tmp_path):
    words = live.picture(fill(tmp_path / "run"), 3, 12).texts[0].get_text()
    assert words == "PretrainZero · seed 3 · step 3 of 12 · about 4 s left"


def test_while_the_base_is_evaluated_the_view_says_so(tmp_path):
    folder = fill(tmp_path / "run", steps=0)
    folder.set_status("running", step=0, steps=12, doing="evaluating")
    figure = live.picture(folder, 0, 12)
    assert figure.texts[0].get_text().endswith("step 0 of 12 · evaluating the model")
    assert "No step yet" in [ax.get_title("left") for ax in figure.axes]


def test_an_interrupted_training_leaves_a_view_that_says_so(tmp_path, monkeypatch):
    display, folder = Display(monkeypatch), fill(tmp_path / "run")
    titles, drawn = [], live.picture
    monkeypatch.setattr(live, "picture", lambda *args: titles.append(drawn(*args)) or titles[-1])
    with pytest.raises(Interrupted), training(folder, Run(tier="smoke", seed=3), None):
        live.LiveView(seconds=100).update(folder, 3, 12)
        raise KeyboardInterrupt
    assert [how for how, _ in display.shown] == ["new", "in place"]
    assert "left" in titles[0].texts[0].get_text()
    assert titles[1].texts[0].get_text().endswith("step 3 of 12 · interrupted; run the cell again to go on")


def test_a_full_disk_leaves_the_former_picture(tmp_path, monkeypatch):
    folder = fill(tmp_path / "run")
    live.LiveView().close(folder)
    before = (folder.path / "view.png").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        live.LiveView().close(folder)
    assert (folder.path / "view.png").read_bytes() == before


@pytest.mark.parametrize(
    "seconds, words", [(9, "about 9 s left"), (0.2, "about 0 s left"), (3700, "about 1 h 1 min left")]
)
def test_time_left_in_words(seconds, words):
    assert live.time_left(pd.DataFrame({"seconds": [seconds]}), 1, 2) == words


def test_the_end_and_the_beginning_have_no_time_left():
    assert live.time_left(pd.DataFrame({"seconds": [1.0]}), 12, 12) == "finished"
    assert live.time_left(pd.DataFrame(), 0, 12) == "time left unknown yet"


def test_the_episode_table_escapes_the_text():
    rows = synthetic.episodes(text=synthetic.TEXT)
    rows["completion"] = "<script>alert(1)</script> costs $5 and $6"
    html = live.episode_table(rows).to_html()
    assert "<script>" not in html and "&lt;script&gt;" in html and "tex2jax_ignore" in html


def test_a_negative_time_is_refused():
    with pytest.raises(ValueError, match="seconds: -1 is below 0"):
        live.LiveView(seconds=-1)


def test_a_terminal_needs_neither_torch_nor_a_picture_library():
    import subprocess

    code = "import sys, pzlib.figures.live as live; view = live.LiveView(); assert not view.notebook\n"
    code += "assert not {'torch', 'matplotlib', 'IPython'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_scores_are_a_panel_where_a_run_has_them(tmp_path):
    folder = fill(tmp_path / "run")
    before = len(live.picture(folder, 3, 3).axes)
    for step, share in ((0, 0.2), (3, 0.4)):
        row = {"step": step, "n": 10, "accuracy": share}
        folder.append_eval([row | {"task": task, "group": "general"} for task in ("mmlu_pro_tenth", "mmlu_pro")])
    after = live.picture(folder, 3, 3)
    assert len(after.axes) == before + 1
    (panel,) = [ax for ax in after.axes if ax.get_title("left") == "Accuracy (%)"]
    assert [line.get_label() for line in panel.lines] == ["general 40"]
    assert list(panel.lines[0].get_ydata()) == [20, 40]
    assert_readable(after)
