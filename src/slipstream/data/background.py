"""Work beside the thread that drives an encoder: files read ahead, in order, and results written behind it."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, TypeVar

import torch
from torch import Tensor

Item = TypeVar("Item")
Result = TypeVar("Result")


def read_ahead(
    read: Callable[[Item], Result], items: Iterable[Item], *, num_threads: int, num_ahead: int
) -> Generator[Result, None, None]:
    """`read(item)` of every item, in the order of the items, while up to `num_ahead` of them are read in threads.

    What a read raises surfaces at its place. Close the iterator to end the threads early.
    """
    pool = ThreadPoolExecutor(num_threads, thread_name_prefix="read ahead")
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(read, item))
            if len(waiting) >= num_ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class WriteBehind(Generic[Result]):
    """Calls that are made in turn by background threads, at most `num_waiting` of them not yet done.

    Leaving the block waits for all of them, also where it is left by an error or a stop: what was handed over is
    written. After a call that failed the others are skipped, and its error surfaces at the next use or at the end.
    """

    def __init__(self, num_waiting: int, num_threads: int = 1) -> None:
        self._pool = ThreadPoolExecutor(num_threads, thread_name_prefix="write behind")
        self._waiting: deque[Future[Result]] = deque()
        self._results: list[Result] = []
        self._num_waiting = num_waiting
        self._failed = False

    def submit(self, call: Callable[[], Result]) -> None:
        """Have it called; waits where too many are not done yet."""
        while len(self._waiting) >= self._num_waiting:
            self._take()
        self._waiting.append(self._pool.submit(self._run, call))

    def done(self) -> list[Result]:
        """What the calls gave that are done and were not told yet, in the order of handing over; does not wait."""
        while self._waiting and self._waiting[0].done():
            self._take()
        results, self._results = self._results, []
        return results

    def drain(self) -> Iterator[Result]:
        """Wait for the calls that are left, one after the other; yields what each gave."""
        yield from self.done()
        while self._waiting:
            self._take()
            yield from self.done()

    def _run(self, call: Callable[[], Result]) -> Result:
        if self._failed:
            raise CancelledError
        try:
            return call()
        except BaseException:
            self._failed = True
            raise

    def _take(self) -> None:
        # waited for before it is taken away: a wait that is interrupted loses no error
        result = self._waiting[0].result()
        self._waiting.popleft()
        self._results.append(result)

    def __enter__(self) -> WriteBehind[Result]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True)
        if error is None:
            for _ in self.drain():
                pass


def pinned(values: Tensor) -> Tensor:
    """The values in memory from which a GPU copies without anyone waiting, where there is a GPU."""
    return values.pin_memory() if torch.cuda.is_available() and values.device.type == "cpu" else values


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """The values on a device; to CUDA they go through pinned memory, so that nothing waits for the copy."""
    if device.type != "cuda":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)


def to_host(tensors: Sequence[Tensor]) -> Callable[[], list[Tensor]]:
    """Start copying tensors to the host; the function waits for that (in any thread) and returns the copies.

    A plain `.cpu()` in another thread would wait for everything that was handed to the device since.
    """
    if not tensors or tensors[0].device.type != "cuda":
        return lambda: list(tensors)
    copies = [torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True) for tensor in tensors]
    for copy, tensor in zip(copies, tensors, strict=True):
        copy.copy_(tensor, non_blocking=True)
    arrived = torch.cuda.Event(blocking=True)
    arrived.record(torch.cuda.current_stream(tensors[0].device))

    def wait() -> list[Tensor]:
        arrived.synchronize()
        return copies

    return wait


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
