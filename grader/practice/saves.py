"""Telling when a learner saves: however the editor does it, and on file systems that tell nobody."""

import threading
from collections.abc import Callable
from pathlib import Path

import watchfiles

SETTLE_MS, AT_MOST_MS = 10, 100
"""How long nothing must happen after a change, and the longest that a row of changes is waited for."""
POLL_SECONDS = 0.3


class Saves:
    """Calls `tell` after each burst of changes to a file, from a thread of its own, while the context lasts.

    The folder is watched and not the file: an editor that writes a new file and renames it, or deletes the old one
    first, is seen as well. Whether the content is another is for the listener to see.
    """

    def __init__(self, path: Path, tell: Callable[[], None], *, poll: bool = False) -> None:
        self.path, self.tell = path, tell
        self.known = self._looks()
        """How the file looked last: only polling asks."""
        self.over = threading.Event()
        run = self._poll if poll else self._listen
        self.thread = threading.Thread(target=run, name=f"saves of {path.name}", daemon=True)

    def __enter__(self) -> "Saves":
        self.thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.over.set()
        self.thread.join(timeout=2)

    def _listen(self) -> None:
        bursts = watchfiles.watch(
            self.path.parent,
            watch_filter=lambda _change, name: Path(name).name == self.path.name,
            step=SETTLE_MS,
            debounce=AT_MOST_MS,
            stop_event=self.over,
            rust_timeout=500,
            recursive=False,
            force_polling=False,
            raise_interrupt=False,
        )
        for _ in bursts:
            self.tell()

    def _poll(self) -> None:
        """Not watchfiles': its polling compares whole seconds, and misses the second save in one."""
        while not self.over.wait(POLL_SECONDS):
            looks = self._looks()
            if looks != self.known:
                self.known = looks
                self.tell()

    def _looks(self) -> tuple[int, int, int] | None:
        """What another save changes; None where there is no file."""
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino
