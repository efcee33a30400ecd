"""Where a judge's workers come from: forks of the forkserver, or, where forking is not safe, an interpreter."""

import os
import socket
from typing import Protocol

from grader.sandbox.channel import Channel, Started
from grader.sandbox.launcher import Client, ProcessFate, launch


class Source(Protocol):
    """Makes workers that are not set up yet."""

    ahead: bool
    """Whether it is cheap to make a worker that may not be needed."""
    level: str | None
    """The isolation level that this source alone imposes, if any."""

    def take(self, count: int, *, loopback: bool, apart: bool) -> list[Channel]:
        """That many workers that can see each other and nobody else; `apart`, that have served nothing before."""

    def give_back(self, channels: list[Channel], *, apart: bool) -> None:
        """They have served their check; `apart`, they are to serve nothing else."""

    def renew(self) -> None:
        """The next worker must be one that has served nothing."""


class ForkedWorkers:
    """A fresh fork for every check."""

    ahead = True
    level: str | None = None

    def __init__(self, client: Client) -> None:
        self.client = client

    def take(self, count: int, *, loopback: bool, apart: bool) -> list[Channel]:
        del apart  # each one is
        started, fate = self.client.workers(count, loopback=loopback)
        return [Channel(one, fate, index) for index, one in enumerate(started)]

    def give_back(self, channels: list[Channel], *, apart: bool) -> None:
        del apart
        for channel in channels:
            channel.close()

    def renew(self) -> None:
        """Each one is fresh."""


class InterpreterWorkers:
    """One interpreter serves a run, the attempt compiled anew for each check; a new one after a crash or a hang."""

    ahead = False
    level: str | None = "process"

    def __init__(self, preload: str) -> None:
        self.preload = preload
        self.idle: Channel | None = None
        self.has_served = False
        """Whether the idle one has: its attempt is still in there, and may have left anything behind."""

    def start(self) -> None:
        """Launch the first one now."""
        self.idle = self._launch()

    def take(self, count: int, *, loopback: bool, apart: bool) -> list[Channel]:
        del loopback  # there is no namespace to ask for
        if count == 1 and self.idle is not None and not (apart and self.has_served):
            ready, self.idle = self.idle, None
            return [ready]
        return [self._launch() for _ in range(count)]

    def give_back(self, channels: list[Channel], *, apart: bool) -> None:
        for channel in channels:
            if self.idle is None and channel.lost is None and len(channels) == 1 and not apart:
                self.idle, self.has_served = channel, True
            else:
                channel.close()

    def renew(self) -> None:
        if self.idle is not None and self.has_served:
            self.stop()

    def stop(self) -> None:
        """End the idle one."""
        if self.idle is not None:
            self.idle.close()
        self.idle, self.has_served = None, False

    def _launch(self) -> Channel:
        ours, theirs = socket.socketpair()
        output, end = os.pipe()
        with theirs, os.fdopen(end, "wb") as errors:
            process = launch(
                ["grader.sandbox.interpreter", str(theirs.fileno()), self.preload], [theirs.fileno()], errors
            )
        return Channel(Started(ours.detach(), output), ProcessFate(process))
