"""Which katas a change touches, as git tells."""

import subprocess
from collections.abc import Set
from pathlib import Path

from grader.errors import UsageError

FOLDERS = ("katas", "solutions")


def changed_since(bank: Path, ref: str) -> Set[str]:
    """Slugs of the katas of which a file is not as it was at `ref`, those that git does not know yet included.

    What is given to several katas counts for none. Raises UsageError where git cannot tell.
    """
    diff = _git(bank, "diff", "--name-only", "--relative", ref, "--", *FOLDERS)
    new = _git(bank, "ls-files", "--others", "--exclude-standard", "--", *FOLDERS)
    parts = (Path(line).parts for line in (diff + new).splitlines())
    return {path[1] for path in parts if len(path) > 2}


def _git(where: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", where, *arguments], capture_output=True, text=True, check=True)
    except OSError as error:
        raise UsageError(f"git is needed to tell what changed, and cannot be run: {error.strerror}") from error
    except subprocess.CalledProcessError as error:
        raise UsageError(f"git cannot tell what changed: {error.stderr.strip()}; leave --since out") from error
    return done.stdout
