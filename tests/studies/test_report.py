"""The README's table says what the results say: means, intervals, pairs, gaps; and nothing else is rewritten.
Synthetic tables, so no number here is a result."""

import pandas as pd
import pytest
import synthetic
from conftest import REPO

from pzlib.studies.tables import END, START, main_table, readme_tables, refresh

# accuracy after the run, by objective, seed and task; before it, all are 0.5
AFTER = {
    ("random_span", 0): {"weekday": 0.4, "two_hop": 0.6, "sum": 0.3},
    ("random_span", 1): {"weekday": 0.6, "two_hop": 0.8, "sum": 0.4},
    ("pretrainzero", 0): {"weekday": 0.5, "two_hop": 0.7, "reasoning": 0.25},
    ("pretrainzero", 1): {"weekday": 0.9, "two_hop": 0.9, "reasoning": 0.25},
}
HEAD = [
    "| accuracy, % (mini) | seeds | TinyBench general | TinyBench math | masked words (reasoning) |",
    "|---" * 5 + "|",
]
NOTHING = " | not run | not run | not run |"
TWO = ("random_span", "pretrainzero")
MARKS = [START.format("results"), END.format("results")]


def table(after=AFTER, tier="mini", steps=(0, 10, 20)):
    rows = []
    for (objective, seed), tasks in after.items():
        run = {"run_id": f"{objective}-{seed}", "objective": objective, "tier": tier, "seed": seed}
        for step in steps:
            for task, accuracy in tasks.items():
                # Halfway it is worse than at the end: only the last step counts.
                accuracy = {0: 0.5, 10: 0.01}.get(step, accuracy)
                rows.append(run | {"step": step, "task": task, "group": synthetic.TASKS[task], "accuracy": accuracy})
    return pd.DataFrame(rows)


def test_the_table_is_the_one_worked_by_hand():
    assert main_table(table(), arms=TWO).splitlines() == HEAD + [
        "| Base | 2 | 50.0 | 50.0 | 50.0 |",  # equal values have no interval
        "| Random spans | 2 | 60.0 [50.0, 70.0] | 35.0 [30.0, 40.0] | not run |",
        "| PretrainZero | 2 | 75.0 [60.0, 90.0] | not run | 25.0 |",
        # +10 and +20 points: of the four sign patterns, ++ and -- lie as far from 0
        "| PretrainZero − Random spans, paired | 2 | +15.0 [+10.0, +20.0], p = 0.5 | not run | not run |",
    ]


def test_rows_are_the_arms_of_a_study_and_by_default_those_of_the_paper():
    rows = table()
    named = rows.assign(arm=rows["objective"].replace({"random_span": "sft, late"}), objective="pretrainzero")
    lines = main_table(named, arms=["pretrainzero", "sft, late"]).splitlines()
    assert lines[3].startswith("| PretrainZero | 2 | 75.0") and len(lines) == 6
    assert lines[4].startswith("| Supervised fine-tuning, late | 2 | 60.0")
    assert lines[5].startswith("| PretrainZero − Supervised fine-tuning, late, paired | 2 | +15.0")
    names = [line.split(" | ")[0] for line in main_table(rows).splitlines()[2:]]
    assert names[:3] == ["| Base", "| Continued pretraining", "| Supervised fine-tuning"]
    assert names[3:] == ["| Random spans", "| PretrainZero", "| PretrainZero − Random spans, paired"]


def test_pairs_are_of_equal_seeds_only():
    only = {key: tasks for key, tasks in AFTER.items() if key != ("random_span", 0)}
    assert main_table(table(only), arms=TWO).splitlines()[-1] == (
        "| PretrainZero − Random spans, paired | 1 | +20.0 [+20.0, +20.0], p = 1 | not run | not run |"
    )


def test_what_is_not_run_is_said():
    one = {key: tasks for key, tasks in AFTER.items() if key[0] == "pretrainzero"}
    lines = main_table(table(one), arms=TWO).splitlines()
    assert lines[3] == "| Random spans | 0" + NOTHING and len(lines) == 5  # and no row of differences
    begun = main_table(table(steps=(0,)), arms=TWO).splitlines()
    assert begun[2].startswith("| Base | 2 | 50.0") and [line[-len(NOTHING) :] for line in begun[3:]] == [NOTHING] * 2
    elsewhere = main_table(table(tier="smoke"), arms=TWO).splitlines()
    assert [line[-len(NOTHING) :] for line in elsewhere[2:]] == [NOTHING] * 3
    assert main_table(table(tier="smoke"), "smoke").splitlines()[2:] == main_table(table()).splitlines()[2:]


def test_refresh_replaces_what_is_between_the_marks_and_nothing_else(tmp_path):
    readme = tmp_path / "README.md"
    text = "# Title\n\n| a table | by hand |\n\n{}\n{}\n{}\n\nMiddle.\n\n{}\n{}\n{}\n\nThe end, 100 %.\n"
    claims = [START.format("claims"), END.format("claims")]
    readme.write_text(text.format(MARKS[0], "old\n| and older |", MARKS[1], claims[0], "old", claims[1]))
    for new in ("| new |", "| newer |\n| two lines |"):
        refresh(readme, {"claims": "| sum |", "results": new})
        assert readme.read_text() == text.format(MARKS[0], new, MARKS[1], claims[0], "| sum |", claims[1])


@pytest.mark.parametrize("lines", [[], [0], [1], [0, 1, 0, 1], [1, 0]])
def test_refresh_refuses_a_readme_without_its_marks(tmp_path, lines):
    readme = tmp_path / "README.md"
    text = "\n".join([START.format("claims"), END.format("claims"), *(MARKS[line] for line in lines)])
    readme.write_text(text)
    with pytest.raises(ValueError, match="README.md: needs the lines .* once each, for the table 'results'"):
        refresh(readme, {"claims": "new", "results": "new"})
    assert readme.read_text() == text


def test_the_readme_says_what_the_stored_rows_say(tmp_path):
    ours = REPO / "README.md"
    copy = tmp_path / "README.md"
    copy.write_text(ours.read_text())
    refresh(copy, readme_tables())
    assert copy.read_text() == ours.read_text(), "run `make figures`"
