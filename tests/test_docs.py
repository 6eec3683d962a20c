"""docs/ and the papers of the repository: links lead somewhere, commands exist, dates and versions agree."""

import ast
import contextlib
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import tyro
import yaml

from pzlib.commands import COMMANDS
from pzlib.headless import find, parse_parameters
from pzlib.objectives import METHODS
from pzlib.run import Run
from pzlib.studies.exhibits import EXHIBITS
from pzlib.studies.papers import sources

REPO = Path(__file__).resolve().parent.parent
DOCS = [REPO / "README.md", *sorted(REPO.glob("docs/*.md"))]
VERSION = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]["version"]


def anchor(heading):
    """The anchor that a heading gets on GitHub."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("path", [*DOCS, REPO / "CHANGELOG.md"], ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if not target.startswith("https://"):
            name, _, part = target.partition("#")
            found = path.parent / name if name else path
            assert found.exists(), target
            assert not part or part in map(anchor, re.findall(r"^#+ (.*)$", found.read_text(), re.MULTILINE)), target


def commands(path):
    """The words of every command in the code blocks and code spans of a page."""
    text = path.read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    spans = re.findall(r"`((?:make|pzlib|python -m) [^`]+)`", text)
    for line in "\n".join([*blocks, *spans]).splitlines():
        for part in line.split(" && "):
            words = shlex.split(part, comments=True)
            while words and (re.match(r"[A-Z_]+=", words[0]) or words[:2] in (["docker", "run"], ["python", "-m"])):
                words = _inner(words)
            if words:
                yield words


def _inner(words):
    """A command without what is before it: a variable, `python -m`, `docker run` with its image."""
    if words[0] == "docker":
        image = next(i for i, word in enumerate(words) if word in ("pzlib", "pzlib:gpu"))
        return words[image + 1 :]
    return words[2:] if words[0] == "python" else words[1:]


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_commands_exist(path):
    targets = re.findall(r"^([\w-]+):", (REPO / "Makefile").read_text(), re.MULTILINE)
    checked = set()
    for program, *words in commands(path):
        checked.add(program)
        if program == "make":
            assert all("=" in word or word in targets for word in words), words
        elif Path(program).name == "pzlib":
            _check(words)
        elif program.startswith("tests."):
            assert (REPO / f"{program.replace('.', '/')}.py").is_file(), program
        elif "/" in program and not program.startswith(("/", "#!")):
            assert (REPO / program).is_file(), program
    assert checked or path.name == "glossary.md"


def _check(words):
    """pzlib takes the words; notebooks are there and take their parameters, settings are a run's."""
    if len(words) > 1 and words[-1] != "--help":
        tyro.extras.subcommand_cli_from_dict(COMMANDS, args=words, config=(tyro.conf.FlagCreatePairsOff,))
    command, options = words[0], " ".join(words[1:]).replace("$SLURM_ARRAY_TASK_ID", "1")
    assert command in COMMANDS
    for name, *values in (option.split() for option in re.findall(r"(?<=-p )[^-].*?(?= -|$)", options)):
        if command in ("run", "batch"):
            path = find(words[1])
            for value in values:
                with contextlib.suppress(FileNotFoundError):  # the reader's own text
                    parse_parameters(path, [(name, value)])
        else:
            assert name in Run.__dataclass_fields__, words


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_runs_in_python_are_possible(path):
    for block in re.findall(r"^```python\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Run":
                Run(**{keyword.arg: ast.literal_eval(keyword.value) for keyword in node.keywords})


def test_the_licence_is_apache_2():
    text = (REPO / "LICENSE").read_text()
    assert text.split()[:5] == "Apache License Version 2.0, January".split() and text.count("\n") == 202


def test_the_citation_names_the_papers_and_the_version():
    citation = yaml.safe_load((REPO / "CITATION.cff").read_text())
    assert (citation["cff-version"], citation["type"], citation["version"]) == ("1.2.0", "software", VERSION)
    papers = [paper["identifiers"][0]["value"].removeprefix("arXiv:") for paper in citation["references"]]
    assert papers == ["2512.03442", "2506.08007", "2510.01265", "2509.19249", "2403.09629"]
    assert all(paper["url"].endswith(number) for paper, number in zip(citation["references"], papers, strict=True))


def test_the_changelog_keeps_its_form():
    text = (REPO / "CHANGELOG.md").read_text()
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings[0] == "[Unreleased]" and re.fullmatch(rf"\[{re.escape(VERSION)}\] - \d{{4}}-\d\d-\d\d", headings[1])
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.*)$", text, re.MULTILINE)) <= kinds


def test_public_ci_is_our_ci_and_its_pythons_are_ours():
    jobs = yaml.safe_load((REPO / ".github/workflows/ci.yml").read_text())["jobs"]
    assert jobs["everything"]["steps"][-1] == {"run": ".ci/run"}
    assert ["3.11", *jobs["pythons"]["strategy"]["matrix"]["python"]] == ["3.11", "3.12", "3.13", "3.14"]


def test_what_git_ignores_stays_out_of_the_image():
    ignored = (REPO / ".dockerignore").read_text().splitlines()
    assert {".git", ".venv*", "data/runs", "data/corpus", "data/evaluations", "data/vllm-*.token"} <= set(ignored)


def test_the_readme_names_every_method():
    text = (REPO / "README.md").read_text()
    assert [method.name for method in METHODS if f"`{method.name}`" not in text and method.name != "rlvr"] == []
    assert 'objective="rlvr"' in text


def test_the_readme_names_the_commands_that_make_the_rows_of_each_paper():
    """Of its figures and tables at the papers' settings, by the list that docs/papers_figures.md is written from."""
    text = (REPO / "README.md").read_text()
    for paper in {one.paper: one for one in EXHIBITS}:
        rows = [name for one in EXHIBITS if one.paper == paper for name, _ in sources(one, "paper")]
        assert f"`pzlib study {' '.join(dict.fromkeys(rows))} --tier paper`" in text, paper


def test_the_readme_has_five_findings_of_a_sentence_each_that_name_their_evidence_and_no_number_by_hand():
    results = (REPO / "README.md").read_text().partition("## Results")[2].partition("\n## ")[0]
    findings = [line for line in prose(results.partition("figures/README.md")[2]) if "(notebook" in line]
    assert len(findings) == 5 == len(re.findall(r"^\* ", results, flags=re.MULTILINE))
    said = re.sub(r"\((?:notebook )?\d\d(?:, \d\d)*\)", "", " ".join(findings))
    assert not re.search(r"\d|\b(two|three|four|five|ten|twenty|thirty|forty) (of|to|or|points)\b", said)


def prose(text):
    """The sentences of a markdown text: without code, tables, headings and pictures."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line for line in text.splitlines() if not line.startswith(("|", "#", "!"))]
    text = re.sub(r"\]\([^)]*\)|[\[*`]", "", re.sub(r"^\* ", "\n\n", "\n".join(lines), flags=re.MULTILINE))
    paragraphs = (" ".join(own.split()) for own in text.split("\n\n") if own.strip())
    return [one for own in paragraphs for one in re.split(r"(?<=[.!?:]) (?=[A-Z])", own)]


def test_the_readme_begins_with_its_commands_and_is_short():
    text = re.sub(r"<!-- (\w+):.*?<!-- end of \1 -->", "", (REPO / "README.md").read_text(), flags=re.DOTALL)
    assert len(text.partition("```")[0].split()) <= 60
    lengths = [len(sentence.split()) for sentence in prose(text)]
    assert sum(lengths) < 900 and sum(lengths) / len(lengths) < 18 and max(lengths) <= 40
    assert text.count("*not run*") == 1 and (REPO / "docs/loop.svg").is_file() and "docs/loop.svg" in text
