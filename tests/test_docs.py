"""docs/ and the papers of the repository: links lead somewhere, commands exist, dates and versions agree."""

import ast
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import yaml

from pzlib.__main__ import parser
from pzlib.headless import parse_parameters
from pzlib.run import Run
from pzlib.studies.records import PLANS

REPO = Path(__file__).resolve().parent.parent
DOCS = sorted(REPO.glob("docs/*.md"))
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
    spans = re.findall(r"`((?:make|python -m) [^`]+)`", text)
    for line in "\n".join([*blocks, *spans]).splitlines():
        for part in line.split(" && "):
            words = shlex.split(part, comments=True)
            while words and re.match(r"[A-Z_]+=", words[0]):
                words = words[1:]
            yield words


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_commands_exist(path):
    targets = re.findall(r"^([\w-]+):", (REPO / "Makefile").read_text(), re.MULTILINE)
    checked = 0
    for words in commands(path):
        for i, word in enumerate(words):
            if word == "make" and words[:1] == ["make"]:
                assert all("=" in name or name in targets for name in words[1:]), words
                checked += 1
            if word == "-m" and words[i + 1] == "pzlib":
                _check(words[i + 2 :])
                checked += 1
            elif word == "-m" and words[i + 1].startswith("tests."):
                assert (REPO / f"{words[i + 1].replace('.', '/')}.py").is_file(), words
        if words and "/" in words[0] and not words[0].startswith(("/", ".venv/")):
            assert (REPO / words[0]).is_file(), words
    assert checked or path.name == "glossary.md"


def _check(words):
    """The command's options parse; notebooks take the parameters, studies exist, settings are a run's."""
    if words[-1] == "--help" or len(words) == 1:
        assert words[0] in " ".join(parser().format_help().split())
        return
    args = parser().parse_args(words)
    pairs = [(name, value) for name, *values in getattr(args, "parameter", ()) for value in values]
    for name, value in pairs:
        if hasattr(args, "notebook"):
            parse_parameters(REPO / args.notebook, [(name, value.replace("$SLURM_ARRAY_TASK_ID", "1"))])
        else:
            assert name in Run.__dataclass_fields__, words
    assert set(getattr(args, "names", ())) <= set(PLANS), words


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_runs_in_python_are_possible(path):
    for block in re.findall(r"^```python\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Call) and node.func.id == "Run":
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
