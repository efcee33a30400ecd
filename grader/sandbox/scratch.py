"""Scratch folders: where a worker may write, bounded in total size where the system lets us mount."""

import contextlib
import os
import tempfile
from pathlib import Path

from grader.errors import HarnessFault
from grader.sandbox import namespaces

SIZE_BYTES = 256 * 2**20
BASE_BYTES = 2**30
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def prepare_base(mountable: bool) -> tuple[str, bool]:
    """The folder that holds all scratch folders of this process tree, and whether it is a private mount.

    The mount point stays, empty, in the system's temporary folder; what is in the mount dies with its namespace.
    """
    base = Path(tempfile.gettempdir()) / f"kata-scratch-{os.getuid()}"
    base.mkdir(mode=0o700, exist_ok=True)
    status = base.lstat()
    if base.is_symlink() or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise HarnessFault(f"{base} is not a private folder of yours; remove it and check again")
    return str(base), mountable and namespaces.mount_scratch(str(base), BASE_BYTES)


class Scratch:
    """One folder of bounded size for the workers of one check."""

    def __init__(self, base: str, mountable: bool) -> None:
        self.path = tempfile.mkdtemp(dir=base)
        self.mounted = mountable and namespaces.mount_scratch(self.path, SIZE_BYTES)

    def file(self, name: str) -> str:
        """The path of a file of that name in here. Raises ValueError for anything but a plain name."""
        if name in ("", ".", "..") or "/" in name or "\0" in name:
            raise ValueError(f"{name!r} is not a plain file name")
        return f"{self.path}/{name}"

    def read(self, name: str, limit: int = 64 * 2**20) -> bytes:
        """The bytes of a regular file in here; no link is followed. Raises OSError."""
        descriptor = os.open(self.file(name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            return file.read(limit)

    @property
    def empty(self) -> bool:
        with os.scandir(self.path) as entries:
            return next(entries, None) is None

    def remove(self) -> None:
        if self.mounted:
            namespaces.unmount(self.path)
        with contextlib.suppress(OSError):
            remove_tree(self.path)


def remove_tree(path: str) -> None:
    """Remove a folder, however deep: `shutil.rmtree` calls itself once a level. Raises OSError."""
    here, way = os.open(path, _FOLDER), list[str]()
    try:
        left = [_emptied(here)]
        while left[-1] or way:
            if left[-1]:
                way.append(left[-1].pop())
                here = _moved(here, way[-1])
                left.append(_emptied(here))
            else:
                left.pop()
                here = _moved(here, "..")
                os.rmdir(way.pop(), dir_fd=here)
    finally:
        os.close(here)
    Path(path).rmdir()


def _moved(here: int, name: str) -> int:
    there = os.open(name, _FOLDER, dir_fd=here)
    os.close(here)
    return there


def _emptied(folder: int) -> list[str]:
    """Names of the folders in an open folder, once all else in it is removed."""
    with os.scandir(folder) as entries:
        kinds = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_folder in kinds:
        if not is_folder:
            os.unlink(name, dir_fd=folder)
    return [name for name, is_folder in kinds if is_folder]
