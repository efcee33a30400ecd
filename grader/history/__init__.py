"""What has happened: every check, attempt and event of a learner, in one SQLite file."""

from grader.history.interviews import Interviews, Outrun
from grader.history.store import FAILING, Event, History, Progress, Standing, Version, default_path

__all__ = ["FAILING", "Event", "History", "Interviews", "Outrun", "Progress", "Standing", "Version", "default_path"]
