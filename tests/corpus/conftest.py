"""Small inputs that others reported, kept beside the real data."""

import pytest


@pytest.fixture(scope="session")
def cases(real_data):
    folder = real_data.parent / "cases"
    if not folder.is_dir():
        pytest.skip(f"no reported cases at {folder}")
    return folder
