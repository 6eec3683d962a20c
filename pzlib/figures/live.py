"""What a person sees while a run trains: a picture in the notebook, redrawn in place, or lines in a terminal.
Left out: widgets. The picture is a PNG made from the run folder's files, so a saved notebook holds it."""

import sys
import time

import pandas as pd

from pzlib.errors import duration
from pzlib.figures.inspector import sample_episodes
from pzlib.paths import relative
from pzlib.prompts import TEMPLATES
from pzlib.run import Run
from pzlib.runs.folder import RunFolder, write_atomic
from pzlib.studies import results
from pzlib.studies.metrics import label_of

DRAWING = 0.1  # the largest share of a run's time that its own pictures may take
RECENT = 20  # steps whose time tells how long the rest will take


class LiveView:
    """Shows a running training; `train` calls `update` after a step and `close` at the end.

    `seconds`: the least time between two pictures; it grows where drawing would take over a tenth of the run.

    >>> LiveView(seconds=5.0).seconds
    5.0
    """

    def __init__(self, seconds: float = 3.0) -> None:
        if seconds < 0:
            raise ValueError(f"seconds: {seconds} is below 0; give the least time between two pictures")
        ipython = sys.modules.get("IPython")
        shell = ipython.get_ipython() if ipython else None
        self.notebook = getattr(shell, "kernel", None) is not None  # a terminal IPython shows no pictures
        self.seconds, self._next, self._handle = seconds, 0.0, None

    def update(self, folder: RunFolder, step: int, steps: int) -> None:
        """Show step `step` of `steps` unless the last picture is too fresh. A failure is only printed."""
        start = time.monotonic()
        folder.interrupted = lambda: self._interrupted(folder)  # a picture that goes on counting would be wrong
        if start < self._next:
            return
        try:
            if self.notebook:
                self._show(picture(folder, step, steps).png())
            else:
                print(progress_line(folder.metrics(), step, steps), flush=True)
        except Exception as error:  # a picture is not worth a run
            print(f"live view: step {step} could not be shown ({type(error).__name__}: {error})", flush=True)
        end = time.monotonic()
        self._next = end + max(self.seconds, (end - start) / DRAWING)

    def _interrupted(self, folder: RunFolder) -> None:
        """Draw once more what a stopped training leaves."""
        self._next = 0.0
        status = folder.status()
        self.update(folder, status.get("step", 0), status.get("steps") or 0)

    def close(self, folder: RunFolder) -> None:
        """Draw the last view, leave it as the notebook's output, and save it as the run folder's view.png."""
        status = folder.status()
        png = picture(folder, status.get("step", 0), status.get("steps") or 0).png()
        write_atomic(folder.path / "view.png", png)
        if self.notebook:
            self._show(png)
        else:
            print(f"the last view is saved as {relative(folder.path / 'view.png')}", flush=True)

    def _show(self, png: bytes) -> None:
        from IPython.display import Image, display

        if self._handle is None:
            self._handle = display(Image(data=png, format="png"), display_id=True)
        else:
            self._handle.update(Image(data=png, format="png"))


def picture(folder: RunFolder, step: int, steps: int):
    """The run's view from its files alone; of the episodes only the latest step is read."""
    from pzlib.figures.run_view import run_view  # matplotlib is loaded only where a picture is drawn

    params, metrics = folder.params(), folder.metrics()
    words = [label_of(params["objective"]), f"seed {params['seed']}", f"step {step} of {steps}"]
    state, left = folder.state(), time_left(metrics, step, steps)
    if state == "resumable":
        left = "interrupted; run the cell again to go on"
    elif state == "running" and folder.status().get("doing") == "evaluating":
        left = "evaluating the model"
    title = " · ".join([*words, left])
    episodes = folder.episodes(folder.episode_steps()[-1:])
    run = Run.from_dict({name: params[name] for name in Run(tier=params["tier"]).to_dict() if name in params})
    shown = {"template": TEMPLATES[params["template"]], "objective": params["objective"]}
    return run_view(metrics, episodes, title=title, evals=folder.evals(), others=results.other_seeds(run), **shown)


def time_left(metrics: pd.DataFrame, step: int, steps: int) -> str:
    """A phrase: the steps left times the mean time of the last twenty.

    >>> time_left(pd.DataFrame({"seconds": [20.0, 40.0]}), step=1, steps=6)
    'about 2 min 30 s left'
    """
    seconds = metrics.get("seconds", pd.Series(dtype=float)).dropna().tail(RECENT)
    if step >= steps > 0:
        return "finished"
    if seconds.empty:
        return "time left unknown yet"
    return f"about {duration(seconds.mean() * max(0, steps - step))} left"


def progress_line(metrics: pd.DataFrame, step: int, steps: int) -> str:
    """One line for a terminal: step, reward and groups without signal of each role, time left.

    >>> row = {"seconds": 2.0, "predictor/reward": 0.5, "predictor/dead_groups": 0.25}
    >>> progress_line(pd.DataFrame([row]), step=1, steps=11)
    'step 1 of 11 · predictor: reward 0.50, without signal 25 % · about 20 s left'
    """
    words = [f"step {step} of {steps}"]
    last = metrics.iloc[-1] if len(metrics) else {}
    for role in ("predictor", "generator"):
        reward, dead = last.get(f"{role}/reward"), last.get(f"{role}/dead_groups")
        if pd.notna(reward) and pd.notna(dead):
            words.append(f"{role}: reward {reward:.2f}, without signal {100 * dead:.0f} %")
    return " · ".join([*words, time_left(metrics, step, steps)])


def episode_table(episodes: pd.DataFrame):
    """Sample episodes as a table for a notebook: who, the mask, the completion, the reward (a pandas Styler).

    The rows are those of the view (`inspector.sample_episodes`). Text is escaped: a passage is not HTML.
    """
    columns = ["step", "role", "passage_id", "mask", "kind", "completion", "prediction", "reward", "advantage"]
    style = sample_episodes(episodes)[columns].style.format(escape="html", precision=3, na_rep="–")
    look = {"white-space": "pre-wrap", "text-align": "left", "vertical-align": "top"}
    # The class keeps MathJax away from dollar signs in the text.
    return style.hide(axis="index").set_properties(**look).set_table_attributes('class="tex2jax_ignore mathjax_ignore"')
