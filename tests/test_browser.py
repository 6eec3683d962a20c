"""A first minute: a real JupyterLab in headless Chromium, notebook 00 run from the menu, its figures seen.
Run by `make test-browser`; skipped, with the reason, where Chromium, its driver or selenium is missing."""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest

pytestmark = pytest.mark.browser
REPO = Path(__file__).resolve().parent.parent
START = "00_start_here.ipynb"
CHROMIUM = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --window-size=1400,2000"
).split()
SETTINGS = {
    # Every cell is in the page, also those that are scrolled out of sight.
    "@jupyterlab/notebook-extension/tracker.jupyterlab-settings": {"windowingMode": "none"},
}
# What the page shows of the notebook: prompts of the code cells, pictures that have loaded, errors, status.
SEEN = """
const all = (what) => [...document.querySelectorAll('.jp-NotebookPanel:not(.lm-mod-hidden) ' + what)];
return {
  prompts: all('.jp-CodeCell .jp-InputPrompt').map(e => e.innerText.trim()),
  pictures: all('.jp-OutputArea-output img').filter(e => e.naturalWidth > 100).length,
  errors: all('.jp-OutputArea-output[data-mime-type="application/vnd.jupyter.stderr"]')
    .map(e => e.innerText).filter(words => words.includes('Traceback (most recent call last)')),
  status: all('.jp-Notebook-ExecutionIndicator').map(e => e.dataset.status)[0] || '',
};
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    """A headless Chromium with a profile of its own."""
    programs = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    missing = [name for name, path in programs.items() if path is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (Debian: apt-get install chromium chromium-driver)")
    webdriver = pytest.importorskip("selenium.webdriver", reason="not installed: selenium (pip install -e '.[dev]')")
    options = webdriver.ChromeOptions()
    options.binary_location = programs["chromium"]
    for flag in [*CHROMIUM, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(flag)
    driver = webdriver.Chrome(options, webdriver.ChromeService(programs["chromedriver"]))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A JupyterLab of its own on a free loopback port: its folder, and a function from path to address."""
    home, token = tmp_path_factory.mktemp("lab"), secrets.token_hex(16)
    work = home / "work"
    work.mkdir()
    for name, value in SETTINGS.items():
        (home / "settings" / name).parent.mkdir(parents=True, exist_ok=True)
        (home / "settings" / name).write_text(json.dumps(value))
    (home / "config/labconfig").mkdir(parents=True)
    quiet = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}  # asks the network
    (home / "config/labconfig/page_config.json").write_text(json.dumps(quiet))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folders = {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "runtime"}
    folders |= {"JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces"}
    folders |= {"IPYTHONDIR": "ipython", "PZLIB_HOME": "pzlib"}
    environment = os.environ | {name: str(home / folder) for name, folder in folders.items()}
    environment |= {"JUPYTER_PREFER_ENV_PATH": "1", "PYTHONPATH": str(REPO)}
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        "--allow-root",
        f"--ServerApp.root_dir={work}",
    ]
    command += ["--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    command += [f"--IdentityProvider.token={token}"]
    with (home / "log").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/api?token={token}", server), 60, home / "log")
        yield work, lambda path: f"http://127.0.0.1:{port}/lab/tree/{path}?token={token}&reset"
    finally:
        os.killpg(server.pid, signal.SIGTERM)  # the server and its kernels
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def answers(address, server):
    """Whether the server answers; a server that has ended never will."""
    if server.poll() is not None:
        raise AssertionError(f"JupyterLab ended with exit code {server.returncode}")
    try:
        return urllib.request.urlopen(address, timeout=5).status == 200
    except OSError:
        return False


def wait_for(condition, seconds, note=""):
    """Ask twice a second until `condition()` is true; its value."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {seconds} s: {Path(note).read_text()[-2000:] if note else ''}"
        time.sleep(0.5)
    return value


def run_from_menu(driver, address, seconds):
    """Open a notebook and run it, once more if the page lost the click; what the page then shows."""
    try:
        return _run_from_menu(driver, address, seconds)
    except AssertionError as lost:  # a menu that opens while the kernel connects can swallow a click
        print(f"once more: {lost}")
        return _run_from_menu(driver, address, seconds)


def _run_from_menu(driver, address, seconds):
    """Open a notebook, Run > Run All Cells, wait until no cell is waiting; what the page then shows."""
    driver.get(address)

    def click(selector, words=None):
        for element in driver.find_elements("css selector", selector):
            if element.is_displayed() and (words is None or element.text.strip() == words):
                element.click()
                return True
        return False

    seen = {}

    def idle():
        seen.update(driver.execute_script(SEEN))
        return seen["status"] == "idle" and seen["prompts"]

    wait_for(idle, 90)  # the kernel is up
    wait_for(lambda: click(".lm-MenuBar-item", "Run"), 20)
    wait_for(lambda: click('.lm-Menu-item[data-command="runmenu:run-all"]'), 20)

    def finished():
        idle()
        waiting = [prompt for prompt in seen["prompts"] if not prompt.strip("[]:").isdigit()]
        return seen["status"] == "idle" and (not waiting or seen["errors"])

    wait_for(finished, seconds)
    time.sleep(1)  # the last picture is laid out after the kernel is idle
    idle()
    return seen


def test_an_error_in_a_cell_is_seen(driver, lab, tmp_path):
    folder, address = lab
    cells = [nbformat.v4.new_code_cell(source) for source in ("6 * 7", "1 / 0", "'never run'")]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), folder / "broken.ipynb")
    seen = run_from_menu(driver, address("broken.ipynb"), 60)
    assert len(seen["errors"]) == 1 and "ZeroDivisionError" in seen["errors"][0]
    assert seen["pictures"] == 0


def test_notebook_00_runs_from_the_menu_and_shows_its_figures(driver, lab, tmp_path):
    folder, address = lab
    shutil.copy(REPO / "notebooks" / START, folder / START)
    start = time.monotonic()
    seen = run_from_menu(driver, address(START), 180)
    print(f"notebook 00 took {time.monotonic() - start:.0f} s from opening to the last figure")
    driver.save_screenshot(str(tmp_path / "notebook_00.png"))
    print(f"screenshot: {tmp_path / 'notebook_00.png'}")
    assert not seen["errors"], seen["errors"][0]
    assert seen["pictures"] >= 2  # the live view and the masks over their passage
