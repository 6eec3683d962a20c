"""The site, as `make site` builds it: README, docs, gallery, notebooks as executed, and the API from its docstrings.

Sphinx wants all pages in one folder, with links between them: they are copied there, and links to what is no page lead
to a copy of the file. Use: `python docs/site/build.py [FOLDER]`; the pages are FOLDER/html, by default build/site/html.
"""

import json
import os
import re
import shutil
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent.parent
PACKAGES = {  # of the API: title, and what is in it
    "pzlib": "Runs, training, the game and the papers' rules",
    "pzlib.objectives": "Methods",
    "pzlib.engine": "Models, sampling, devices",
    "pzlib.runs": "What a run leaves on disk",
    "pzlib.corpus": "Text and problems",
    "pzlib.world": "The small world",
    "pzlib.evaluation": "Scores of a model",
    "pzlib.studies": "Studies, tables, claims",
    "pzlib.studies.queue": "Many runs and notebooks",
    "pzlib.studies.boxes": "Result boxes",
    "pzlib.studies.claims": "Claims and their verdicts",
    "pzlib.figures": "Figures and views",
}
LINK = re.compile(r"(!?\[[^\]]*\]\()([^)\s]+)(\))|(<img\b[^>]*\bsrc=\")([^\"]+)(\")")
TOCTREE = "```{{toctree}}\n:hidden:\n:caption: {}\n\n{}\n```\n"


def pages() -> dict[str, Path]:
    """{page: the file it is made of}; of a notebook the executed copy, where there is one."""
    found = {"index.md": REPO / "README.md"}
    for path in [*sorted(REPO.glob("docs/*.md")), REPO / "CONTRIBUTING.md", REPO / "CHANGELOG.md", REPO / "LOG.md"]:
        found[str(path.relative_to(REPO))] = path
    for gallery in (REPO / "figures/README.md", REPO / "figures/appendix/README.md"):
        if gallery.is_file():
            found[str(gallery.relative_to(REPO))] = gallery
    for path in sorted(REPO.glob("notebooks/*.ipynb")):
        executed = REPO / "figures/executed" / path.name
        found[f"notebooks/{path.name}"] = executed if executed.is_file() else path
    return found


def target_of(link: str, home: Path) -> str | None:
    """What a link of a file in the folder `home` leads to, as a path in the site; None where it stays as it is."""
    if re.match(r"[a-z]+:|#|/", link):
        return None
    path = os.path.relpath(os.path.normpath(home / link), REPO)
    path = re.sub(r"^figures/executed(/|$)", r"notebooks\1", path)
    return {"README.md": "index.md", "notebooks": "notebooks.md", "figures": "figures/README.md"}.get(path, path)


def relinked(text: str, page: str, made_of: Path, files: set[str]) -> str:
    """The text with its links as they are from `page`; adds the linked files that are no pages to `files`."""

    def lead(match: re.Match) -> str:
        before, link, after = [part for part in match.groups() if part is not None]
        name, _, anchor = link.partition("#")
        target = target_of(name, made_of.parent) if name else None
        if target is None:
            return match[0]
        if target not in known and (REPO / target).is_file():
            files.add(target)
        there = os.path.relpath(target, Path(page).parent)
        return f"{before}{there}{anchor and '#' + anchor}{after}"

    known = {*pages(), "notebooks.md"}
    return LINK.sub(lead, text)


def lay_out(source: Path) -> None:
    """Write every page, and every file that one links to, into the folder `source`."""
    files: set[str] = set()
    for page, path in pages().items():
        out = source / page
        out.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".ipynb":
            notebook = json.loads(text)
            for cell in notebook["cells"]:
                if cell["cell_type"] == "markdown":
                    cell["source"] = relinked("".join(cell["source"]), page, path, files)
            text = json.dumps(notebook)
        else:
            text = relinked(text, page, path, files)
        out.write_text(text, encoding="utf-8")
    for file in sorted(files):
        (source / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPO / file, source / file)
    names = list(pages())
    shown = [name for name in names if name.startswith("notebooks/")]
    (source / "notebooks.md").write_text("# Notebooks\n\n```{toctree}\n:maxdepth: 1\n\n" + "\n".join(shown) + "\n```\n")
    api(source / "api")
    guides = sorted((name for name in names if name.startswith("docs/")), key=lambda name: name != "docs/install.md")
    rest = [name for name in ("figures/README.md", "figures/appendix/README.md") if name in names]
    trees = {"Guides": guides, "Results": ["notebooks.md", *rest], "Reference": ["api/index.md"]}
    trees["Project"] = ["CONTRIBUTING.md", "CHANGELOG.md", "LOG.md"]
    with (source / "index.md").open("a", encoding="utf-8") as file:
        file.write("\n" + "\n".join(TOCTREE.format(title, "\n".join(own)) for title, own in trees.items()))


def api(folder: Path) -> None:
    """A page for each package: its modules' docstrings and those of all that is public in them."""
    folder.mkdir(parents=True)
    for package, title in PACKAGES.items():
        path = REPO / package.replace(".", "/")
        parts = [file.stem for file in sorted(path.glob("*.py")) if file.stem != "__main__"]
        names = [package if part == "__init__" else f"{package}.{part}" for part in parts]
        text = f"# {title}\n\n"
        for name in names:
            text += f"## {name}\n\n```{{eval-rst}}\n.. automodule:: {name}\n   :members:\n```\n\n"
        (folder / f"{package}.md").write_text(text)
    tree = "\n".join(f"{package}.md" for package in PACKAGES)
    (folder / "index.md").write_text(f"# API\n\n```{{toctree}}\n:maxdepth: 2\n\n{tree}\n```\n")


def main(out: Path) -> int:
    from sphinx.cmd.build import build_main

    shutil.rmtree(out, ignore_errors=True)
    lay_out(out / "source")
    sys.path.insert(0, str(REPO))
    where = ["-c", str(Path(__file__).parent), "-d", str(out / "doctrees")]
    code = build_main(["-q", "-b", "html", *where, str(out / "source"), str(out / "html")])
    print(f"site: {out / 'html' / 'index.html'}")
    return code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else REPO / "build/site").resolve()))
