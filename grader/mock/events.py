"""What can happen in a mock interview. Each event is written down before it is shown."""

import msgspec

from grader.mock.moment import Moment


class _Event(msgspec.Struct, frozen=True, tag_field="event", tag=str.lower):
    pass


class Drawn(_Event, frozen=True):
    """The interview was drawn; its clock does not run yet."""

    katas: tuple[str, ...]
    questions: tuple[str, ...]
    minutes: float
    seed: str
    folder: str = ""
    """Where its files are written."""


class Opened(_Event, frozen=True):
    """A terminal shows it from now on, and no other: two must not both write."""

    terminal: str


class Begun(_Event, frozen=True):
    """The brief was read: the clock runs."""


class Saved(_Event, frozen=True):
    """The file of a kata has new content."""

    kata: str
    sha256: str
    when: Moment
    """Of the save itself, which may have been seen later."""


class Graded(_Event, frozen=True):
    """What a saved version is worth."""

    kata: str
    sha256: str
    score: int
    max_score: int
    parts: dict[str, tuple[int, int]]
    """Score and maximum of each."""
    mistakes: tuple[str, ...] = ()
    """Known mistakes that were recognised."""


class Paused(_Event, frozen=True):
    """The clock stands; it is recorded."""


class Continued(_Event, frozen=True):
    """The clock runs again."""


class Answered(_Event, frozen=True):
    """A question of the interview was answered, maybe with nothing."""

    question: str
    answer: str


class Rated(_Event, frozen=True):
    """The learner rated the answer against the rubric, 1 to 3; only when the clock is done."""

    question: str
    level: int


class Finished(_Event, frozen=True):
    """The learner is done before the bell."""


class Closed(_Event, frozen=True):
    """All that was saved is graded and all that was answered is rated: the score sheet stands."""


Event = Drawn | Opened | Begun | Saved | Graded | Paused | Continued | Answered | Rated | Finished | Closed
