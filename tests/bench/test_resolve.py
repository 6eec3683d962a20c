"""Pins and locks resolve for every Python that people have. Asks the package index; fetches no package."""

import pytest

from tests.bench.resolve import LOCKS, PYTHONS, locked, pins, resolve

OFFLINE = ("Failed to fetch", "error sending request", "Connection refused", "client error")


def resolved(*args):
    try:
        return resolve(*args)
    except ValueError as error:
        if any(sign in str(error) for sign in OFFLINE):
            pytest.skip(f"the package index is not reached: {error}")
        raise


def test_pins_are_read_from_lines():
    text = "# a==1\nTorch==2.13.0\nlm_eval==0.4 ; python_version > '3'\n-e .\n"
    assert pins(text) == {"torch": "2.13.0", "lm-eval": "0.4"}


@pytest.mark.slow
@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_holds_for_each_python(name, python):
    versions = locked(name)
    found = resolved(python, LOCKS[name], versions)
    beside = {package for package in found if package not in versions}
    if name == "gpu":
        assert not beside
    else:  # the index's torch for Linux, which the CPUs' lock is not of, brings CUDA
        assert all(package.startswith(("nvidia-", "cuda-", "triton")) for package in beside)


@pytest.mark.slow
def test_a_version_that_no_python_has_is_refused():
    with pytest.raises(ValueError, match=r"Python 3\.12: (?s:.*)trl"):
        resolved("3.12", LOCKS["cpu"], {"trl": "0.0.1"})
