"""`kata`: where a command begins and ends. Errors become one line and an exit code here, and nowhere else."""

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack

from grader.cli.early import hoisted, warmed
from grader.cli.ticker import Ticker
from grader.errors import KataError
from grader.render.printable import printable

INTERRUPTED = 130
PIPE_CLOSED = 141


def main() -> int:
    """Run the command of this process; returns its exit code."""
    try:
        return run(sys.argv[1:])
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read us has read enough; Python would complain once more when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED


def run(arguments: Sequence[str]) -> int:
    ticker = Ticker(sys.stderr, os.environ.get("TERM", ""))
    with ExitStack() as stack:
        stack.callback(ticker.clear)
        banks, others = hoisted(arguments)
        try:
            grader = warmed(others, banks, stack, ticker)
            # After that: what a check waits for is starting while these are imported.
            from grader.cli.app import invoke
            from grader.cli.session import Session

            return invoke(others, Session(stack, banks, grader, ticker))
        except KataError as error:
            ticker.clear()
            print(f"kata: {printable(str(error))}", file=sys.stderr)
            return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
