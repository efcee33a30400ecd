"""What a call costs on a GPU, read beside the attempt: not to be believed without a bound from outside.

As in `triton.testing.do_bench`: events on the current stream, caches cold, the device idle.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from grader.sandbox import wire

USUAL_CACHE_BYTES = 64 * 2**20


class EventClock:
    """Measures one call at a time, with all that its libraries start on any stream of the device."""

    def __init__(self, device: str) -> None:
        torch = wire.torch_module()
        assert torch is not None
        self.cuda, self.device = torch.cuda, device
        cache = torch.cuda.get_device_properties(device).L2_cache_size or USUAL_CACHE_BYTES
        self.filler = torch.empty(2 * cache, dtype=torch.uint8, device=device)
        self.seconds, self.bytes = 0.0, 0
        """Of the last call; bytes are what it needed at its highest, beyond what was held before."""

    @contextmanager
    def measuring(self) -> Iterator[None]:
        start, end = (self.cuda.Event(enable_timing=True) for _ in range(2))
        self.filler.zero_()  # twice the L2 cache is written: nothing of the inputs is left in it
        self.cuda.reset_peak_memory_stats(self.device)
        held = self.cuda.memory_allocated(self.device)
        self.cuda.synchronize(self.device)
        start.record()
        yield
        self.cuda.synchronize(self.device)  # of every stream, not only of the one that the events are on
        end.record()
        end.synchronize()
        self.seconds = start.elapsed_time(end) / 1000
        self.bytes = self.cuda.max_memory_allocated(self.device) - held
