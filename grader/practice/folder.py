"""A learner's folder and the history of what lay in it: start, reset, versions, restore. Nothing is ever lost."""

from pathlib import Path

from grader import workspace
from grader.bank import Kata
from grader.errors import UsageError
from grader.history import Event, Version
from grader.practice.learner import Learner
from grader.workspace import Started


def start(learner: Learner, kata: Kata) -> Started:
    """Write what is not there yet, and make this the kata that is meant when none is named."""
    started = workspace.start(kata, learner.where)
    learner.history.record_started(kata.slug, started.path)
    return started


def reset(learner: Learner, kata: Kata) -> Path:
    """Put the stub in place of the attempt, which the history keeps; returns where."""
    path = learner.attempt(kata)
    learner.history.keep_attempt(kata.slug, workspace.read_attempt(path).data, reason="reset")
    workspace.reset(kata, path)
    learner.history.record_event(kata.slug, Event.RESET)
    return path


def versions(learner: Learner, kata: Kata) -> list[Version]:
    """Newest first."""
    return learner.history.runs(kata.slug)


def restore(learner: Learner, kata: Kata, n: int) -> Path:
    """Put version `n` in place of the attempt, which the history keeps; returns where. Raises UsageError."""
    version = next((version for version in versions(learner, kata) if version.n == n), None)
    if version is None:
        raise UsageError(f"{kata.slug} has no version {n}: `kata history {kata.slug}` lists them")
    path = learner.attempt(kata)
    old = learner.history.attempt_bytes(version.sha256)
    learner.history.keep_attempt(kata.slug, workspace.read_attempt(path).data, reason="restore")
    workspace.write_atomically(path, old)
    learner.history.record_event(kata.slug, Event.RESTORED, {"n": n})
    return path
