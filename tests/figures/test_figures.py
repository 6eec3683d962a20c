"""A figure of a study's record is drawn from a whole study only, without torch; what is missing is printed."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import synthetic

from pzlib import figures, studies
from pzlib.figures import Drawn, form_of, gallery, redraw, tables_of
from pzlib.figures.style import save
from pzlib.studies import STUDIES, claims, results
from pzlib.studies.boxes import box

MAIN = ("pretrainzero", "random_span")


def rows_of(study, table, arms, seeds):
    """Made-up rows of the study's real runs."""
    made = table(arms, seeds=len(seeds)).assign(run_id=lambda rows: rows["objective"] + "-" + rows["seed"].astype(str))
    runs = {f"{arm}-{run.seed}": run.run_id for arm, run in studies.arms_of(study, "mini", seeds)}
    return made.assign(run_id=made["run_id"].map(runs))


def test_a_record_names_forms_and_their_tables():
    for study in STUDIES.values():
        for figure in study.figures:
            assert set(tables_of(form_of(figure.form))) <= set(results.MADE_BY), figure
            assert set(figure.arms) <= set(study.arms), figure


def test_redraw_needs_no_torch_and_says_what_is_missing(tmp_path):
    rows_of("baselines", synthetic.training, MAIN, (0, 1)).to_csv(tmp_path / "training.csv", index=False)
    code = "import sys; from pzlib.figures import redraw\n"
    code += f"print(len(redraw({str(tmp_path)!r}, {str(tmp_path)!r})))\n"
    code += "assert not {'torch', 'transformers', 'trl'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lacking = [line for line in done.stdout.splitlines() if ": not drawn, " in line]
    assert "main_result" in " ".join(lacking) and "collapse_anatomy" in " ".join(lacking)
    assert len({line.partition(": not drawn, ")[2] for line in lacking}) == len(lacking)  # a line for each reason
    assert done.stdout.endswith("\n3\n")  # of PretrainZero's rows two figures of training, the main one with a PDF
    with pytest.raises(FileNotFoundError, match="no folder"):
        redraw(tmp_path / "absent", tmp_path)


def rows_at_paper(*names, settings=None):
    """Made-up scores of the runs of studies at `paper`, of benchmarks alone."""
    runs = {run.run_id: run for name in names for _, run in studies.arms_of(name, "paper", [0, 1, 2], settings)}
    tasks = {"mmlu_pro": "general", "math500": "math"}
    rows = [
        {"run_id": run_id, "objective": run.objective, "tier": "paper", "seed": run.seed, "step": step, "task": task,
         "group": group, "n": 8, "k": 1, "accuracy": 0.1 + 0.01 * run.seed + step / 5000, "length": 20.0,
         "reasoned": 0.5}
        for run_id, run in runs.items() for step in (0, 1000) for task, group in tasks.items()
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_what_rows_of_a_real_tier_do_not_hold_is_printed_and_the_rest_is_drawn(home, capsys):
    folder = home / "data/results/paper"
    folder.mkdir(parents=True)
    rows_at_paper("rpt", "domain", "mask_rule").to_csv(folder / "tinybench.csv", index=False)
    drawn = {path.stem for path in redraw(folder, home / "out", "paper")}
    said = capsys.readouterr().out
    assert "rpt_next_tokens: not drawn, tinybench: no run was asked for next tokens" in said
    assert {"domain_result", "domain_curves", "mask_rule_result", "rpt_result"} <= drawn
    assert "PretrainZero, MathPile" in (home / "out/appendix/README.md").read_text()  # its finding names the text
    assert "TinyMath" not in (home / "out/README.md").read_text()


def test_a_gallery_names_what_its_tier_is_asked():
    shown = Drawn([Path("x.png")], True, "A finding", "Tables beside the same methods on TinyBench, by base.", [])
    assert "the same methods on TinyBench, by base" in gallery([shown], "mini", True)
    assert "the same methods on benchmarks, by base" in gallery([shown], "paper", True)


def test_runs_that_were_given_settings_are_drawn_and_judged_where_these_are_given_again(home, capsys):
    """A study of GPUs is run with -p use_vllm true: its figures, boxes and verdicts must find its runs."""
    folder, given = home / "data/results/paper", {"use_vllm": True}
    folder.mkdir(parents=True)
    rows = rows_at_paper("mask_rule", "baselines", "baselines_small", settings=given)
    rows.to_csv(folder / "tinybench.csv", index=False)
    assert redraw(folder, home / "out", "paper") == []
    assert "mask_rule_result" in {path.stem for path in redraw(folder, home / "out", "paper", given)}
    before, after = (claims.every_tier(claims.load(), results.stored, "paper", own) for own in (None, given))
    assert before["paper"]["effect"].isna().all() and before["mini"].equals(after["mini"])
    assert after["paper"]["effect"].notna().sum() > 3
    assert "0 of 3 pairs: `pzlib study rlvr --tier paper -p use_vllm true`" in set(after["paper"]["note"])
    assert "**Found.**" not in box("11", "paper") and "**Found.**" in box("11", "paper", given)
    assert "`pzlib study side_rlvr --tier paper -p use_vllm true`" in box("11", "paper", given)


def test_a_figure_says_which_tiers_table_and_bases_it_is_made_of():
    rows = {name: studies.select(rows_at_paper(name), name, "paper") for name in ("baselines", "baselines_small")}
    figure = form_of("baselines_beside")(rows)
    said = " ".join(text.get_text() for text in figure.texts)
    assert "data/results/paper/tinybench.csv, tier paper" in said
    below = {label.get_text() for ax in figure.axes for label in ax.get_xticklabels()}
    assert {"base", "smaller base"} <= below and not any("tinybase" in words for words in below)


def test_redraw_takes_the_arms_of_the_study_and_names_it(tmp_path, capsys):
    training = rows_of("baselines", synthetic.training, MAIN, (0, 1))
    strange = synthetic.training(("sft",), seeds=1, tier="smoke")
    pd.concat([training, strange]).to_csv(tmp_path / "training.csv", index=False)
    files = redraw(tmp_path, tmp_path / "out")
    assert [str(path.relative_to(tmp_path / "out")) for path in files] == [
        "training_dynamics.png", "training_dynamics.pdf", "appendix/generator_dynamics.png"
    ]  # fmt: skip
    for page, name in (("README.md", "training_dynamics"), ("appendix/README.md", "generator_dynamics")):
        text = (tmp_path / "out" / page).read_text()
        assert text.count(f"]({name}.png)") == 1 and text.count("![") == 1 and "↓" in text  # its finding is there
    stored = studies.select(results.read(tmp_path / "training.csv"), "baselines")
    for path in files[::2]:
        figure = form_of(path.stem)(stored, source="data/results/training.csv, study baselines")
        assert path.read_bytes() == save(figure, path.stem, tmp_path)[0].read_bytes()
    assert "of 4 arms of collapse lack runs at tier mini" in capsys.readouterr().out
    one = training[(training["objective"] == "pretrainzero") | (training["seed"] == 1)]
    one.to_csv(tmp_path / "training.csv", index=False)
    assert redraw(tmp_path, tmp_path / "out") == []
    # half a study would look like a whole one
    (line,) = [line for line in capsys.readouterr().out.splitlines() if ": not drawn, 1 of 2 arms of base" in line]
    assert "training_dynamics" in line


def no_ledger(*_):
    return {}


def test_methods_beside_are_drawn_at_equal_tokens_and_equal_time(tmp_path, monkeypatch):
    """`side_new` has costs of its own, or none: then the runs' clocks count, and the caption says so."""
    monkeypatch.setattr(figures, "_ledger", no_ledger)
    arms, costs = tuple(studies.study_of("side_new").arms), {"seconds": 1.0, "device": "a machine"}
    training = rows_of("side_new", synthetic.training, arms, (0, 1))
    training = training.assign(**{name: training[name].fillna(999) for name in ("tokens_prompt", "tokens_completion")})
    tinybench = rows_of("side_new", synthetic.tinybench, arms, (0, 1))
    pd.DataFrame(costs | {"arm": ["pretrainzero"]}).to_csv(tmp_path / "costs.csv", index=False)  # of the study `side`
    training.to_csv(tmp_path / "training.csv", index=False)
    tinybench.to_csv(tmp_path / "tinybench.csv", index=False)
    drawn = {path.stem for path in redraw(tmp_path, tmp_path / "out")}
    assert {"side_new_by_tokens", "side_new_by_time", "side_new_result"} <= drawn

    def captions():
        at_hand = figures._timed({"training": training}, "side_new", "mini", tmp_path)
        picture = form_of("by_time")(studies.select(tinybench, "side_new"), at_hand["costs"])
        return picture.axes[0].get_xlabel(), " ".join(text.get_text() for text in picture.texts)

    label, words = captions()
    assert label == "Minutes" and "On each run's own clock." in words and "training.csv" in words
    pd.DataFrame(costs | {"arm": arms}).to_csv(tmp_path / "costs_side_new.csv", index=False)
    label, words = captions()
    assert label == "CPU minutes" and "On a machine." in words and "costs.csv" in words
