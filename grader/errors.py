"""Every error this project raises on purpose, under one root.

    KataError
    ├── UsageError                 exit 2: the command, or what it names, is off
    │   ├── UnknownKata            no such kata; says the nearest names
    │   ├── BadKata                a kata's own files are wrong
    │   ├── BadAttempt             the attempt cannot be read as one regular file
    │   ├── WorkspaceError         a learner's folder is not as the command needs it
    │   └── Unavailable            an extra, a device or an isolation level this machine lacks
    ├── HarnessFault               exit 3: a fault of ours, never the learner's
    └── HistoryError               exit 3: the history cannot be read or written

Each message says what happened, to which thing, and the next command to type. Only `grader.__main__` turns them into
exit codes.
A learner's failure is not here: it is a value, a `CheckResult` of `grader.verdict`.
"""


class KataError(Exception):
    """The root. `exit_code` is what the command line ends with."""

    exit_code = 3


class UsageError(KataError):
    """The command, or what it names, is off; nothing was graded."""

    exit_code = 2


class UnknownKata(UsageError):
    """No kata of that name is in the catalogue."""

    def __init__(self, slug: str, nearest: list[str]) -> None:
        hint = f"did you mean {', '.join(nearest)}? " if nearest else ""
        super().__init__(f"there is no kata {slug!r}: {hint}`kata list` shows them all")
        self.slug, self.nearest = slug, nearest


class BadKata(UsageError):
    """A file of a kata is missing or wrong; `kata lint` tells all that is."""


class BadAttempt(UsageError):
    """The attempt cannot be read: not there, not a regular file, too large."""


class WorkspaceError(UsageError):
    """A learner's folder is not as the command needs it."""


class Unavailable(UsageError):
    """This machine lacks something that was asked for: an extra, a GPU, an isolation level."""


class HarnessFault(KataError):
    """A fault of ours: a process that cannot be started, a broken check, a full disk."""


class HistoryError(KataError):
    """The history cannot be opened, read or written; nothing in it is lost by that."""
