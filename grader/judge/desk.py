"""The reference in the judge's own process, behind the same codec as an attempt in a worker."""

import time

from grader.judge.workshop import Bench, Workshop
from grader.sandbox.frames import Buffer
from grader.sandbox.program import Program, load
from grader.sandbox.proxy import AnswerCallback, Conversation, Host, LocalCarrier, Module, Ranks
from grader.sandbox.servant import Servant
from grader.sandbox.transcript import Frame
from grader.sandbox.worker import seed_everything


class TimedCarrier(LocalCarrier):
    """Adds up the CPU seconds of its requests."""

    def __init__(self) -> None:
        super().__init__()
        self.cpu_seconds = 0.0

    def request(self, pieces: list[Buffer], answer_callback: AnswerCallback) -> Frame:
        start = time.process_time()
        try:
            return super().request(pieces, answer_callback)
        finally:
            self.cpu_seconds += time.process_time() - start


class Desk(Host):
    """One of our own programs in one check: here by default, in confined workers where cost or ranks are asked for."""

    def __init__(self, workshop: Workshop, program: Program, seed: int) -> None:
        self.workshop, self.program, self.seed = workshop, program, seed
        self.carriers: list[TimedCarrier] = []
        self.bench: Bench | None = None

    def module(self) -> Module:
        carrier = TimedCarrier()
        carrier.servant = Servant(self.program, load(self.program), carrier.ask)
        self.carriers.append(carrier)
        return Module(Conversation(carrier, self))

    def restart(self) -> Module:
        """The program anew, its random generators as at the start; handles from before cannot be its arguments."""
        seed_everything(self.seed)
        return self.module()

    def confined(self) -> Module:
        return self._bench().confined()

    def path(self, name: str) -> str:
        return self._bench().path(name)

    def read_bytes(self, name: str) -> bytes:
        return self._bench().read_bytes(name)

    def ranks(self, count: int) -> Ranks:
        return self._bench().ranks(count)

    @property
    def cpu_seconds(self) -> float:
        here = sum(carrier.cpu_seconds for carrier in self.carriers)
        return here + (self.bench.cpu_seconds if self.bench else 0.0)

    def close(self) -> None:
        if self.bench is not None:
            self.bench.close()

    def _bench(self) -> Bench:
        if self.bench is None:
            self.bench = Bench(self.workshop, self.program, self.seed, apart=True)
        return self.bench
