"""What is read as an attempt, and what is refused with a way out."""

import hashlib
import os
import socket
import sys
from pathlib import Path

import pytest
from starved import run_without_override

from grader.errors import BadAttempt
from grader.workspace import MAX_BYTES, read_attempt

STRANGE_ATTEMPTS = sorted(Path(__file__).parent.glob("workspaces/attempts/[!.]*"))
READ = "import sys; from pathlib import Path; from grader.workspace import *; read_attempt(Path(sys.argv[1]))"


@pytest.mark.parametrize("path", STRANGE_ATTEMPTS, ids=lambda path: path.name)
def test_any_regular_file_is_read_byte_for_byte(path: Path) -> None:
    attempt = read_attempt(path)
    assert (attempt.path, attempt.data) == (path, path.read_bytes())
    assert attempt.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_an_attempt_may_have_as_many_bytes_as_the_limit_and_no_more(tmp_path: Path) -> None:
    path = tmp_path / "large.py"
    path.write_bytes(b"#" * MAX_BYTES)
    assert len(read_attempt(path).data) == MAX_BYTES
    path.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(BadAttempt, match=r"large\.py has more than 1,000,000 bytes.*run again"):
        read_attempt(path)


def test_a_sparse_file_of_a_terabyte_is_refused_without_being_read_through(tmp_path: Path) -> None:
    path = tmp_path / "sparse.py"
    path.touch()
    os.truncate(path, 1 << 40)
    with pytest.raises(BadAttempt, match="more than"):
        read_attempt(path)


@pytest.mark.parametrize("name", ["missing.py", "missing/dpo.py", "file/dpo.py"])
def test_what_is_not_there_is_said_with_the_command_that_makes_one(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadAttempt, match="is not there: `kata start NAME`"):
        read_attempt(tmp_path / name)


def test_a_link_is_not_followed_and_the_message_names_what_it_points_to(tmp_path: Path) -> None:
    target, link = tmp_path / "target.py", tmp_path / "link.py"
    target.write_text("x = 1")
    link.symlink_to(target)
    with pytest.raises(BadAttempt, match=rf"link, which is not followed: `kata check --file .*{target.name}`"):
        read_attempt(link)


@pytest.mark.parametrize("pointed_to", ["loop.py", "nowhere.py", "/dev/zero"])
def test_links_to_nothing_to_themselves_and_to_devices_are_links(tmp_path: Path, pointed_to: str) -> None:
    link = tmp_path / "loop.py"
    link.symlink_to(pointed_to)
    with pytest.raises(BadAttempt, match="symbolic link"):
        read_attempt(link)


def test_a_folder_reached_over_a_link_is_fine(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "dpo.py").write_text("x = 1")
    (tmp_path / "link").symlink_to("real")
    assert read_attempt(tmp_path / "link" / "dpo.py").data == b"x = 1"


def test_a_folder_is_no_attempt(tmp_path: Path) -> None:
    with pytest.raises(BadAttempt, match=r"is a folder, not a file: .*`kata check --file FILE`"):
        read_attempt(tmp_path)


def test_a_pipe_that_nobody_writes_to_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.py")
    with pytest.raises(BadAttempt, match="is a pipe, not a file"):
        read_attempt(tmp_path / "pipe.py")


def test_a_device_is_no_attempt() -> None:
    with pytest.raises(BadAttempt, match="is a device, not a file"):
        read_attempt(Path("/dev/zero"))


def test_a_socket_is_no_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path has to be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.py")
        with pytest.raises(BadAttempt, match="is a socket"):
            read_attempt(Path("socket.py"))


def test_a_file_without_permission_is_said_with_the_chmod(tmp_path: Path) -> None:
    path = tmp_path / "private.py"
    path.write_text("x = 1")
    path.chmod(0)
    done = run_without_override([sys.executable, "-c", READ, str(path)])
    assert f"BadAttempt: {path} may not be read (Permission denied): `chmod u+r" in done.stderr


def test_no_descriptor_is_left_open_by_what_is_refused(tmp_path: Path) -> None:
    before = os.open("/dev/null", os.O_RDONLY)
    os.close(before)
    for path in (tmp_path, tmp_path / "missing", Path("/dev/zero")):
        with pytest.raises(BadAttempt):
            read_attempt(path)
    after = os.open("/dev/null", os.O_RDONLY)
    os.close(after)
    assert after == before
