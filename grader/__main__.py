"""`kata`: where a command begins and ends. Errors become one line and an exit code here, and nowhere else."""

import gc
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from grader.errors import HarnessFault, KataError, UsageError
from grader.printable import printable

if TYPE_CHECKING:
    from grader.grading import Grader

INTERRUPTED = 130
PIPE_CLOSED = 141


def main() -> int:
    """Run the command of this process; returns its exit code."""
    # A command ends before there is garbage worth collecting; looking for it takes a fifth of `kata list`.
    gc.disable()
    try:
        with ExitStack() as stack:
            return run(sys.argv[1:], stack)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read us has read enough; Python would complain once more when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except Exception:
        sys.excepthook(*sys.exc_info())
        print("kata: that is a fault of ours: please report it with the lines above", file=sys.stderr)
        return HarnessFault.exit_code
    finally:
        gc.freeze()


def run(arguments: Sequence[str], stack: ExitStack, grader: "Grader | None" = None) -> int:
    """One command; `stack` ends what it started, after whatever it has to say is said.

    What a check waits for is started before most of this is imported, unless there is a grader already.
    """
    from grader.cli.early import hoisted, warmed
    from grader.cli.ticker import Ticker

    ticker = Ticker(sys.stderr, os.environ.get("TERM", ""))
    try:
        (banks, others), where = hoisted(arguments), current_folder()
        grader = grader or warmed(others, banks, where, stack, ticker)

        from grader.cli.app import invoke
        from grader.cli.session import Session

        return invoke(others, Session(stack, where, banks, grader, ticker))
    except KataError as error:
        ticker.clear()
        print(f"kata: {printable(str(error))}", file=sys.stderr)
        return error.exit_code
    finally:
        ticker.clear()


def current_folder() -> Path:
    """Raises UsageError where somebody has removed it."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise UsageError("this folder is not there any more: `cd` to another, then run again") from None


if __name__ == "__main__":
    sys.exit(main())
