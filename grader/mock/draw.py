"""What an interview asks: katas and questions, drawn by seed, weak and due ones first."""

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from grader.bank import Kata, is_of
from grader.errors import UsageError
from grader.history import Progress, Standing

MINUTES_PER_QUESTION = 3


@dataclass(frozen=True, slots=True)
class Wish:
    """What the learner wants to be asked."""

    minutes: float = 45.0
    katas: tuple[str, ...] = ()
    """Slugs; empty draws them."""
    track: str | None = None
    priority: str | None = None
    questions: int = 3


def draw_katas(
    katas: Iterable[Kata],
    standings: Mapping[str, Standing],
    due: Collection[str],
    seed: str,
    wish: Wish,
) -> tuple[Kata, ...]:
    """At least one, and as many as fit into the time that questions leave.

    In order: what is due or was tried and not passed, what is new, what is passed; within each by a hash of seed and
    slug, so that equal arguments draw equal katas. Raises UsageError where no kata is of that track and priority.
    """
    fitting = [kata for kata in katas if is_of(kata, wish.track, wish.priority)]
    if not fitting:
        wanted = " and ".join(filter(None, (wish.track and f"track {wish.track}", wish.priority)))
        raise UsageError(f"no kata is of {wanted}: `kata list` shows tracks and priorities")

    def place(kata: Kata) -> tuple[int, bytes]:
        standing = standings.get(kata.slug)
        weak = kata.slug in due or (standing is not None and standing.state is Progress.STARTED)
        passed = standing is not None and standing.state is Progress.PASSED
        rank = 0 if weak else 2 if passed else 1
        return rank, hashlib.sha256(f"{seed} {kata.slug}".encode()).digest()

    return tuple(_fill(sorted(fitting, key=place), wish.minutes - MINUTES_PER_QUESTION * wish.questions))


def named_katas(find: Callable[[str], Kata], slugs: Sequence[str]) -> tuple[Kata, ...]:
    """Those that were asked for by name, each once. Raises UnknownKata."""
    return tuple(find(slug) for slug in dict.fromkeys(slugs))


def _fill(ordered: Sequence[Kata], minutes: float) -> list[Kata]:
    """The first, then whatever still fits, in order."""
    chosen, left = [ordered[0]], minutes - ordered[0].minutes
    for kata in ordered[1:]:
        if kata.minutes <= left:
            chosen.append(kata)
            left -= kata.minutes
    return chosen
