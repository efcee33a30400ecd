"""A learner's folder of one kata: the attempt, and what `kata start` puts beside it.

Nothing outside that folder is ever written, and an attempt is replaced by `reset` and `write_atomically` alone.
What is kept of old attempts is the history's business; what they are worth is the judge's.
"""

import errno
import hashlib
import os
import secrets
import shlex
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from grader.bank import Kata
from grader.errors import BadAttempt, BadKata, WorkspaceError

MAX_BYTES = 1_000_000
"""The largest attempt that is read."""

PROMPT_NAME = "PROMPT.md"

# Neither a pipe nor a terminal may block us or become ours, and the last name may not lead elsewhere.
_READING = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Attempt:
    """The learner's file, as it was at one moment."""

    path: Path
    data: bytes
    sha256: str


@dataclass(frozen=True, slots=True)
class Started:
    """What `start` found and did."""

    path: Path
    """The attempt; absolute."""
    created: tuple[Path, ...]
    """Files that were not there before."""
    already: bool
    """The attempt was there, and is as it was."""


def read_attempt(path: Path) -> Attempt:
    """One open, one read, of a regular file of at most `MAX_BYTES`; a link is not followed. Raises BadAttempt."""
    try:
        data = _read_regular(path, MAX_BYTES + 1)
    except OSError as error:
        raise BadAttempt(_unreadable(path, error)) from error
    if len(data) > MAX_BYTES:
        raise BadAttempt(
            f"{path} has more than {MAX_BYTES:,} bytes, the most an attempt may have: shorten it, then run again"
        )
    return Attempt(path, data, hashlib.sha256(data).hexdigest())


def start(kata: Kata, where: Path) -> Started:
    """Writes stub, prompt and given files into `where/<slug>`, or into `where` if that is the kata's folder already.

    What is there stays as it is. Raises WorkspaceError where the folder cannot be made or written.
    """
    folder = _folder(kata, where.absolute())
    _make_folder(kata, folder)
    path = folder / kata.attempt_name
    if path.is_dir():
        raise WorkspaceError(f"{path} is a folder, where the attempt should be: move it away, then run again")
    sources = {path: kata.stub, folder / PROMPT_NAME: kata.prompt} | {folder / g.name: g for g in kata.given_paths()}
    created = tuple(target for target, source in sources.items() if _create(target, _bank_bytes(kata, source)))
    return Started(path, created, already=path not in created)


def find_current(where: Path, katas: Iterable[Kata]) -> str | None:
    """The slug of the kata whose folder `where` is, or lies in: one named like it that holds its attempt."""
    known = {kata.slug: kata for kata in katas}
    for folder in _upwards(where):
        if folder.name in known and _is_home(folder, known[folder.name]):
            return folder.name
    return None


def attempt_path(kata: Kata, where: Path, last_path: Path | None) -> Path:
    """The attempt meant by someone who is in `where`: here, below, above, or else where it was last started."""
    here, *above = _upwards(where)
    for folder in (here, here / kata.slug, *above):
        if _is_home(folder, kata):
            return folder / kata.attempt_name
    if last_path is not None and os.path.lexists(last_path):
        return last_path
    gone = f", and none at {last_path} any more" if last_path else ""
    raise WorkspaceError(f"there is no attempt at {kata.slug} in {where}{gone}: `kata start {kata.slug}` writes one")


def reset(kata: Kata, path: Path) -> None:
    """Puts the stub in place of the attempt, which the caller has kept before."""
    write_atomically(path, _bank_bytes(kata, kata.stub))


def altered_given(kata: Kata, folder: Path) -> list[str]:
    """Names of given files that the learner edited: grading uses ours, so this is worth saying."""
    return [given.name for given in kata.given_paths() if _differs(folder / given.name, _bank_bytes(kata, given))]


def write_atomically(path: Path, data: bytes) -> None:
    """Puts `data` at `path`, whole or not at all, with the mode of the file that was there.

    Raises WorkspaceError, and leaves what was there, if that is no regular file or the disk refuses.
    """
    with _writing(path):
        mode = _mode(path)
        temp = path.with_name(f".kata-{secrets.token_hex(8)}.tmp")
        try:
            _write_new(temp, data, mode)
            temp.replace(path)
        finally:
            temp.unlink(missing_ok=True)


def _upwards(where: Path) -> tuple[Path, ...]:
    where = where.absolute()
    return where, *where.parents


def _is_home(folder: Path, kata: Kata) -> bool:
    return folder.name == kata.slug and os.path.lexists(folder / kata.attempt_name)


def _folder(kata: Kata, where: Path) -> Path:
    return where if _is_home(where, kata) else where / kata.slug


def _make_folder(kata: Kata, folder: Path) -> None:
    home = folder.resolve()
    if any(home.is_relative_to((kata.bank / part).resolve()) for part in ("katas", "solutions")):
        raise WorkspaceError(f"{folder} belongs to the bank itself: `cd` to a folder of yours, then run again")
    try:
        folder.mkdir(exist_ok=True)
    except FileExistsError:
        raise WorkspaceError(f"{folder} is there and is no folder: move it away, then run again") from None
    except OSError as error:
        raise WorkspaceError(_unwritable(folder, error)) from error


def _bank_bytes(kata: Kata, source: Path) -> bytes:
    try:
        return source.read_bytes()
    except OSError as error:
        raise BadKata(
            f"{source} cannot be read ({error.strerror}): `kata lint {kata.slug}` says what is wrong"
        ) from error


def _create(path: Path, data: bytes) -> bool:
    """Writes a new file; False, and nothing done, if anything of that name is there."""
    with _writing(path):
        try:
            _write_new(path, data, None)
        except FileExistsError:
            return False
    return True


def _write_new(path: Path, data: bytes, mode: int | None) -> None:
    """Raises FileExistsError; after any other fault nothing is left of the file."""
    file = path.open("xb")
    try:
        with file:
            file.write(data)
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _mode(path: Path) -> int | None:
    """Permission bits of the regular file at `path`; None if there is nothing."""
    try:
        found = path.lstat().st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found):
        raise WorkspaceError(f"{path} is {_kind(found)}, so it is left as it is: move it away, then run again")
    return stat.S_IMODE(found)


def _read_regular(path: Path, limit: int) -> bytes:
    """The first `limit` bytes. Raises OSError, or BadAttempt for what is no regular file."""
    descriptor = os.open(path, _READING)
    try:
        found = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(found):
            raise BadAttempt(f"{path} is {_kind(found)}, not a file: name the file itself, `kata check --file FILE`")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(limit)
    finally:
        os.close(descriptor)


def _differs(path: Path, data: bytes) -> bool:
    try:
        return _read_regular(path, len(data) + 1) != data
    except FileNotFoundError:
        return False
    except (OSError, BadAttempt):
        return True


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
    }
    return kinds.get(stat.S_IFMT(mode), "a device")


def _unreadable(path: Path, error: OSError) -> str:
    quoted = shlex.quote(str(path))
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR:
            return f"{path} is not there: `kata start NAME` writes a stub, `kata check --file FILE` takes another file"
        case errno.ELOOP:
            target = shlex.quote(os.path.realpath(path))
            return (
                f"{path} is a symbolic link, which is not followed: `kata check --file {target}` names the file itself"
            )
        case errno.EACCES | errno.EPERM:
            return f"{path} may not be read ({error.strerror}): `chmod u+r {quoted}`, then run again"
        case errno.ENXIO | errno.EOPNOTSUPP:
            return f"{path} is a socket or a device, not a file: name the file itself, `kata check --file FILE`"
    return f"{path} cannot be read ({error.strerror}): `cat {quoted}` shows whether anything can; then run again"


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WorkspaceError(_unwritable(path, error)) from error


def _unwritable(path: Path, error: OSError) -> str:
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT | errno.EFBIG:
            way_out = "free some space, then run again"
        case errno.EROFS | errno.EACCES | errno.EPERM:
            way_out = "`cd` to a folder that you can write, then run again"
        case _:
            way_out = f"`ls -la {shlex.quote(str(path.parent))}` shows what is there"
    return f"{path} cannot be written ({error.strerror}), and nothing was changed: {way_out}"
