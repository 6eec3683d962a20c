"""The site: built once, every link and picture of it leads somewhere; in headless Chromium its figures are there and
its search finds. Skipped, with the reason, where the extra `docs`, Chromium or its driver is missing."""

import functools
import http.server
import subprocess
import sys
import threading
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from test_browser import driver, wait_for  # noqa: F401  (a fixture)

pytestmark = pytest.mark.browser
REPO = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted(path.stem for path in (REPO / "notebooks").glob("*.ipynb"))


class Links(HTMLParser):
    """`.ids` of a page, and `.links`: what its elements lead to or load."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links = {"", "top"}, []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.ids |= {found[name] for name in ("id", "name") if found.get(name)}
        self.links += [found[name] for name in ("href", "src") if found.get(name)]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built pages."""
    missing = [name for name in ("sphinx", "myst_nb", "furo") if find_spec(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (pip install -e '.[docs]')")
    out = tmp_path_factory.mktemp("site")
    done = subprocess.run([sys.executable, REPO / "docs/site/build.py", out], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    broken = [line for line in done.stderr.splitlines() if "not found" in line or "unknown document" in line]
    assert not broken, "\n".join(broken)
    return out / "html"


@pytest.fixture(scope="module")
def address(site):
    """The site on a free loopback port."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=site)
    handler.log_message = lambda *_: None
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def broken_links(site):
    """(page, link) of every link within the site that leads nowhere, be it to a file or to a place in a page."""
    pages = {path: Links(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            known = pages[target].ids if target in pages else {unquote(parts.fragment)}
            if not target.exists() or unquote(parts.fragment) not in known:
                yield str(path.relative_to(site)), link


def test_no_link_is_broken(site):
    assert sorted(set(broken_links(site))) == []
    assert all((site / "notebooks" / f"{name}.html").is_file() for name in NOTEBOOKS)


def test_a_broken_link_is_found(tmp_path):
    (tmp_path / "a.html").write_text('<a href="b.html">b</a><a href="#here" id="here">c</a><img src="no.png">')
    assert {link for _, link in broken_links(tmp_path)} == {"b.html", "no.png"}


def test_every_module_and_its_public_names_have_a_place(site):
    text = "".join(path.read_text(encoding="utf-8") for path in (site / "api").glob("*.html"))
    modules = [path.relative_to(REPO).with_suffix("") for path in REPO.glob("pzlib/**/*.py")]
    names = [".".join(part for part in path.parts if part != "__init__") for path in modules]
    assert [name for name in names if f'id="module-{name}"' not in text and name != "pzlib.__main__"] == []
    functions = ("pzlib.train.train", "pzlib.rewards.predictor_reward", "pzlib.run.Run")
    assert all(f'id="{name}"' in text for name in functions)


def test_figures_are_there(driver, address, tmp_path):  # noqa: F811
    pictures = "return [...document.querySelectorAll('article img')].map(e => [e.naturalWidth, e.getAttribute('src')])"
    for page in ("index.html", "notebooks/03_masking_collapse.html", "notebooks/04_pretrainzero.html"):
        driver.get(f"{address}/{page}")
        found = driver.execute_script(pictures)
        assert found and all(width > 100 for width, _ in found), (page, found)
        driver.save_screenshot(str(tmp_path / f"{Path(page).stem}.png"))


def test_search_finds(driver, address):  # noqa: F811
    driver.get(f"{address}/search.html?q=collapse")
    hits = wait_for(lambda: driver.find_elements("css selector", "ul.search li a"), 20)
    assert any("03" in hit.text or "collapse" in hit.text.lower() for hit in hits)
    driver.get(f"{address}/search.html?q=qwertzuiop")
    wait_for(lambda: "did not match" in driver.find_element("tag name", "body").text, 20)
