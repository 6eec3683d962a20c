"""One process trains a run: a second start is refused in words, and a disk without locks is no reason to stop."""

import errno
import subprocess
import sys

import pytest

from pzlib.runs.folder import RunFolder, held


def test_of_two_starts_in_one_moment_one_is_refused_until_the_other_has_let_go(tmp_path):
    folder, said = RunFolder(tmp_path / "run"), "another process trains it now; wait, or give another seed or name"
    with held(folder):
        with pytest.raises(ValueError, match=f"run: {said}"):
            with held(RunFolder(folder.path)):
                pass
        code = "from pzlib.runs.folder import RunFolder; from pzlib.runs.folder import held; import sys\n"
        code += "with held(RunFolder(sys.argv[1])): pass"
        other = subprocess.run([sys.executable, "-c", code, str(folder.path)], capture_output=True, text=True)
        assert said in other.stderr
    with held(folder):
        assert folder.state() == "new"


@pytest.mark.parametrize("number, stops", [(errno.ENOSYS, False), (errno.ENOLCK, False), (errno.EIO, True)])
def test_a_disk_without_locks_is_no_reason_to_stop_and_a_broken_one_is(tmp_path, monkeypatch, number, stops):
    def flock(*_):
        raise OSError(number, "said by the disk")

    monkeypatch.setattr("fcntl.flock", flock)
    if stops:
        with pytest.raises(OSError, match="said by the disk"), held(RunFolder(tmp_path / "run")):
            pass
    else:
        with held(RunFolder(tmp_path / "run")):
            pass
