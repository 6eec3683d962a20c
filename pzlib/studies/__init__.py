"""The studies of `pzlib.studies.records` as runs, with their learning rates and starts, and their stored rows.
Left out: how runs are made (`pzlib.studies.queue`), and everything that is drawn or concluded from them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field

import pandas as pd

from pzlib import objectives
from pzlib.errors import NothingToDraw, flags, near_names, refuse_unknown
from pzlib.run import Run
from pzlib.runs.folder import RunFolder
from pzlib.studies import queue, results
from pzlib.studies.records import MAIN, STUDIES, SUPERVISED_ROWS, Study
from pzlib.tiers import TIERS, WORLDS, named_at
from pzlib.world import tinywiki

OF_TEXT = ("corpus", "corpus_config", "corpus_split", "corpus_column", "corpus_limit", "min_tokens", "max_tokens")
# What all arms of a study with a `base_of` share at a real tier
SHARED = ("model", "steps", "max_prompt_tokens", "min_tokens", "max_tokens")


def study_of(name: str) -> Study:
    """The Study of that name; ValueError with the near ones for another.

    >>> list(study_of("mask_rule").arms)
    ['all occurrences', 'one mask', 'whole words']
    """
    if name not in STUDIES:
        raise ValueError(f"study: no study is called {name!r}; {near_names(name, STUDIES)}")
    return STUDIES[name]


def arms_of(name: str | Study, tier: str, seeds=None, settings=None) -> list[tuple[str, Run]]:
    """(arm, Run) of every arm and seed of a study, seed by seed, so that an interrupted study has whole seeds first.

    seeds: None for the study's own, at `smoke` the first of them. Sweeps are made at `mini` and hold for `smoke`;
    at other tiers every run has the tier's rate. Arms that make no sense at the tier are not there (`left_out`).
    settings: {name: value} of every run, under those in which its arm differs; what says which text is read does not
    reach arms that answer problems. ValueError for one that the study itself gives.
    """
    from pzlib.studies import sweeps  # which reads this module

    settings = _given(settings)
    study = name if isinstance(name, Study) else study_of(name)
    short = {"steps": study.steps} if study.steps and tier == "mini" else {}
    if short and study.steps < TIERS[tier]["steps"]:
        short["eval_every"] = study.steps
    out, found = left_out(study, tier), []
    for seed in seeds or seeds_of(study, tier):
        for arm in study.arms:
            if arm in out:
                continue
            own = settings_of(study, arm, tier, settings)
            if "start" in own:
                own["model"] = start_of(own.pop("start"), tier, seed, settings)[1]
            if WORLDS[tier].small:
                rate = sweeps.rate_of(sweeps.swept_as(own, study.rate_of))
                own = {"model": WORLDS[tier].base_of(seed), "learning_rate": rate} | short | own
            found.append((arm, Run(**{"tier": tier, "seed": seed, **own})))
    return found


def seeds_of(study: Study, tier: str) -> tuple[int, ...]:
    """The seeds of a study at a tier; where its world has two bases, seeds below 10 start from the first of them.

    Three seeds stay on one base: shared out they would leave a test one degree of freedom. A real tier takes five at
    most: that a claim needed more in the small world says nothing of it.

    >>> [seeds_of(study_of(name), "mini") for name in ("baselines", "rpt", "spice")]
    [(0, 1, 2, 3, 4, 10, 11, 12, 13, 14), (0, 1, 2, 10, 11), (0, 1, 2)]
    >>> [len(seeds_of(study_of("collapse"), tier)) for tier in ("mini", "gpu")]
    [11, 5]
    """
    if tier == "smoke" or not WORLDS[tier].bases:
        return study.seeds[:1] if tier == "smoke" else study.seeds[:5]
    seeds = study.seeds
    second = len(seeds) if study.on_each_base else len(seeds) // 2 if len(seeds) > 3 else 0
    first = seeds if study.on_each_base else seeds[: len(seeds) - second]
    return (*first, *(10 + seed for seed in seeds[:second]))


def _given(settings) -> dict:
    """The settings that are given for all runs of a study, or a ValueError for one that the study gives itself."""
    refuse_unknown(settings or {}, Run.__dataclass_fields__, "setting of a run")
    for name in settings or {}:
        if name in ("tier", "seed", "objective", "name"):
            raise ValueError(f"{name}: is the study's own; give {'seeds' if name == 'seed' else 'other settings'}")
    return dict(settings or {})


def settings_of(study: Study, arm: str, tier: str, settings=None) -> dict:
    """The settings of an arm at a tier: its roles as what the tier's world has for them; "start" stays as it is.

    settings: of every arm, which go before what the tier shares among the arms, and behind the arm's own.

    >>> settings_of(study_of("domain"), "pretrainzero, TinyMath", "paper")["corpus"]
    'GAIR/MathPile'
    >>> settings_of(study_of("warmup"), "random spans first", "paper")
    {'random_span_steps': 100, 'model': 'HuggingFaceTB/SmolLM3-3B-Base'}
    """
    world, own, shared = WORLDS[tier], dict(study.arms[arm]), {}
    method = objectives.method(own.get("objective", "pretrainzero"))
    if not world.small:
        if study.base_of:
            theirs = TIERS[tier] | objectives.method(study.base_of).tiers.get(tier, {})
            shared = {setting: theirs[setting] for setting in (SHARED[:1] if method.reads_problems else SHARED)}
        mini = TIERS["mini"]
        for setting, size in (("passages", "passages"), ("random_span_steps", "steps")):
            if setting in own:
                own[setting] = max(min(own[setting], 1), round(own[setting] * TIERS[tier][size] / mini[size]))
        if "corpus_limit" in own:
            own["corpus_limit"] = max(own["corpus_limit"], TIERS[tier]["corpus_limit"])
    given = {name: v for name, v in (settings or {}).items() if not (method.reads_problems and name in OF_TEXT)}
    if "text" in own:
        role, turned, knobs = own.pop("text").partition(":")  # a text with knobs is of a small world at every tier
        text = getattr(WORLDS["mini"] if turned and not world.small else world, role).settings()
        text["corpus"] += f":{knobs}" if knobs else ""
        own |= {} if role == "general" and not turned and "corpus" in given else text
    if world.small and method.supervised:
        own.pop("corpus_limit", None)  # the same passages as all others read, as often as its rows need
        own = rows_a_step(method.name, tier) | own
    if "base" in own:
        own["model"] = getattr(world, own.pop("base"))
        own = (world.smaller_settings if method.has_generator else {}) | own
    found, default = shared | given | own, method.tiers.get(tier, {}).get("entropy_model")
    if "model" in found and "entropy_model" not in found and default in world.proxies.values():
        found["entropy_model"] = world.proxies.get(found["model"], "base")  # its own reads another base's tokens
    return found


def rows_a_step(name: str, tier: str) -> dict:
    """The settings in which a method's runs have their own number of rows per step at `mini`: supervised ones, in
    studies and in their sweeps alike, so that each is tuned at the rows that it uses.

    >>> rows_a_step("sft", "mini"), rows_a_step("sft", "paper"), rows_a_step("rpt", "mini")
    ({'passages': 21}, {}, {})
    """
    method = objectives.method(name)
    own = tier == "mini" and method.supervised and "passages" not in method.tiers.get(tier, {})
    return dict(SUPERVISED_ROWS) if own else {}


def left_out(name: str | Study, tier: str) -> dict[str, str]:
    """{arm: the reason} of the arms of a study that make no sense in the tier's world.

    >>> sorted(set(left_out("left", "gpu").values())), left_out("left", "mini")
    (['its text is of the small world'], {})
    """
    study = name if isinstance(name, Study) else study_of(name)
    if WORLDS[tier].small:
        return dict.fromkeys(study.arms, f"only at real tiers: {study.real}") if study.real else {}
    found = {}
    for arm, own in study.arms.items():
        if tinywiki.is_world(settings_of(study, arm, tier).get("corpus", "")):
            found[arm] = "its text is of the small world"
        elif own.get("text") == "both":
            found[arm] = "texts of the hub are not mixed"
        elif own.get("base") == "early" and not WORLDS[tier].early:
            found[arm] = "the tier names no early checkpoint of its base"
    return found


def leaving_out(names, tier: str) -> str:
    """A line per study and reason: which arms are left out at the tier, and why; "" where none is."""
    lines = []
    for name in names:
        reasons = {}
        for arm, why in left_out(name, tier).items():
            reasons.setdefault(why, []).append(arm)
        for why, arms in reasons.items():
            all_of = "every arm" if len(arms) == len(study_of(name).arms) else ", ".join(arms)
            lines.append(f"{name}: {all_of} left out at {tier}: {why}\n")
    return "".join(lines)


def start_of(name: str, tier: str, seed: int, settings=None) -> tuple[Run, str]:
    """The run that a start names (an arm of `baselines`, or "study:arm"), and its model as `Run.model` takes it.

    >>> run, model = start_of("pretrainzero@half", "paper", seed=0)
    >>> model == f"{run.run_id}@1000", start_of("rpt:rpt, clean text", "mini", seed=0)[0].corpus
    (True, 'tinywiki_clean')
    """
    study, _, arm = name.rpartition(":")
    arm, _, half = arm.partition("@")
    run = dict(arms_of(study or "baselines", tier, [seed], settings))[arm]
    return run, f"{run.run_id}@{run.steps // 2}" if half else run.run_id


def runs_of(names, tier: str = "mini", seeds=None, settings=None) -> list[Run]:
    """Every run of these studies once, study by study, in each the first seeds first.

    >>> len(runs_of(["mask_rule", "occurrences"], "paper"))  # the default run is in both
    18
    """
    runs = [run for name in names for _, run in arms_of(name, tier, seeds, settings)]
    return list({run.run_id: run for run in runs}.values())


def starts_of(names, tier: str = "mini", seeds=None, settings=None) -> list[Run]:
    """Every run once whose model some arm of these studies goes on from."""
    found = []
    for name in names:
        starts = {arm: own["start"] for arm, own in study_of(name).arms.items() if "start" in own}
        arms = [(arm, run) for arm, run in arms_of(name, tier, seeds, settings) if arm in starts]
        found += [start_of(starts[arm], tier, run.seed, settings)[0] for arm, run in arms]
    return list(dict.fromkeys(found))


def finished(name: str, tier: str, settings=None) -> list[str]:
    """The run ids of a study's complete runs at a tier, and of their number a line; of another name, the name.

    Raises ValueError where none is complete.
    """
    if name not in STUDIES:
        return [name]
    found = runs_of([name], tier, settings=settings)
    done = [run.run_id for run in found if RunFolder(run.folder).state() == "complete"]
    if not done:
        made = f"`pzlib study {name} --tier {tier}` makes them"
        raise ValueError(f"model: no run of the study {name} is complete at tier {tier}; {made}")
    print(f"{name}: {len(done)} of {len(found)} runs are complete")
    return done


def select(table: pd.DataFrame, name: str, tier: str = "mini", seeds=None, settings=None) -> pd.DataFrame:
    """The rows of `table` (runs, training or tinybench) that are of the study's runs, with a first column `arm`.

    A run belongs to every study that names its settings, and to each arm: one table serves all, in the arms' order. Of
    a study with an arm that `settings` do not go with there is none.
    """
    arms, order, given = {}, list(study_of(name).arms), _given(settings)
    try:
        made = arms_of(name, tier, seeds, given)
    except ValueError:
        if not given:
            raise
        made = []
    for arm, run in made:  # at a tier's own sizes two arms can be the same runs
        arms.setdefault(run.run_id, []).append(arm)
    rows = table[table["run_id"].isin(arms)].copy()  # in one piece: a table of many columns is slow to add to otherwise
    rows = rows.assign(arm=rows["run_id"].map(arms)).explode("arm", ignore_index=True)
    rows = rows.sort_values("arm", key=lambda names: names.map(order.index), kind="stable")
    return rows[["arm", *table.columns]]


@dataclass(frozen=True)
class Opened:
    """Studies as a notebook sees them: their stored rows, what is drawn of them, and what became of their runs.

    found: {run id: what}, as `pzlib.studies.queue.play` returns it.
    """

    names: tuple[str, ...]
    tier: str
    seeds: tuple[int, ...] | None
    found: dict[str, str]
    settings: dict = field(default_factory=dict)

    def rows(self, table: str, study: str = "", arms=()) -> pd.DataFrame:
        """Rows of a table (runs, training, tinybench, ...) that are a study's (the first's), with a column `arm`.

        Where there are none, the frame is empty, and a line says how to make them.
        """
        study = study or self.names[0]
        try:
            found = results.load(table, self.tier)
        except FileNotFoundError:
            found = results.blank(table)
        if "run_id" in found:  # costs.csv is by arm
            found = select(found, study, self.tier, self.seeds, self.settings)
        found = found[found["arm"].isin(arms)] if arms else found
        if found.empty and len(left_out(study, self.tier)) == len(study_of(study).arms):
            print(leaving_out([study], self.tier), end="")
        elif found.empty:
            given = flags(self.settings)
            if table == "tinybench" and self._made(study):  # real benchmarks are asked when a run has ended
                along = f"pzlib evaluate {study} --along --tier {self.tier}{given}"
                print(f"scores of {study}: not asked yet: `{along}`, then `pzlib results`")
            else:
                own = f"pzlib study {study} --tier {self.tier}{given}"
                runs = f"{study} --tier {self.tier}"
                made_by = own if table in results.TABLES else results.MADE_BY[table].replace("RUN_ID", runs)
                print(f"{table} of {study}: not run yet: `{made_by}`")
        return found

    def _made(self, study: str) -> bool:
        runs = [run.run_id for _, run in arms_of(study, self.tier, self.seeds, self.settings)]
        return any(self.found.get(name) in ("stored", "complete") for name in runs)

    def draw(self, form: Callable, study: str = "", arms=()) -> None:
        """Show a figure of `pzlib.figures` of a study: its parameters say by their names which tables it takes.

        What its rows do not hold, such as masks of a model that made no legal one, is printed in a line; whatever else
        a form refuses is an error.
        """
        from IPython.display import display

        tables = [name for name in inspect.signature(form).parameters if name in results.MADE_BY]
        rows = [self.rows(name, study, arms) for name in tables]
        if not any(table.empty for table in rows):
            try:
                display(form(*(named_at(table, self.tier) for table in rows)))
            except NothingToDraw as error:
                print(f"{form.__name__} of {study or self.names[0]} is not drawn: {str(error).partition(';')[0]}")

    def tally(self) -> pd.DataFrame:
        """What became of the runs: a row per study and arm, with how many were planned, finished, failed."""
        rows = []
        for name in self.names:
            for arm, run in arms_of(name, self.tier, self.seeds, self.settings):
                what = self.found.get(run.run_id, "")
                done, failed = what in ("stored", "complete"), what.startswith("failed")
                rows.append({"study": name, "arm": arm, "planned": 1, "finished": int(done), "failed": int(failed)})
        columns = ["study", "arm", "planned", "finished", "failed"]
        return pd.DataFrame(rows, columns=columns).groupby(["study", "arm"], sort=False).sum()


def _where(names, tier: str, settings) -> str:
    """Lines that say what the roles are at a tier of real models, whose arms keep the names of the small world's; and
    of a text that is given, which arms it does not reach."""
    world = WORLDS[tier]
    if world.small:
        return ""
    given = settings or {}
    roles = {"base": given.get("model", world.base), "smaller base": world.smaller,
             "text": given.get("corpus", world.general.name),
             "TinyMath": world.mathematical.name, "clean text": world.clean.name}  # fmt: skip
    lines = [f"at {tier}: " + ", ".join(f"{role} is {what}" for role, what in roles.items())]
    asked = {own.get("objective", MAIN[0]) for name in names for own in study_of(name).arms.values()}
    if "corpus" in given and any(objectives.method(one).reads_problems for one in asked):
        lines.append(f"corpus: is the text; arms that answer problems keep {world.problems.name}")
    return "\n".join(lines) + "\n"


def open(names, tier: str = "mini", seeds=None, jobs: int = 0, settings=None) -> Opened:
    """These studies (or the one of that name) at a tier, after saying what each asks and making the runs that are not
    stored, `jobs` at a time; with 0 none is made. settings: as of `arms_of`, of all their runs."""
    from pzlib.studies.sweeps import refuse_unswept  # which reads this module

    names = (names,) if isinstance(names, str) else tuple(names)
    for name in names:
        print(f"{name}: {study_of(name).question}")
    print(leaving_out(names, tier) + _where(names, tier, settings), end="")
    if jobs:
        refuse_unswept(names, tier)
    starts = starts_of(names, tier, seeds, settings)
    found = queue.play(runs_of(names, tier, seeds, settings), jobs, starts=starts)
    return Opened(names, tier, seeds and tuple(seeds), found, dict(settings or {}))
