"""Decoded faces, kept where a training reads them fastest: on its device, in memory, or in the shards."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from train.data.prepared import Prepared, Rows
from train.data.transforms import resize_face
from train.hardware import free_memory

SHARE = 0.4  # of what is free: the network, its activations and trainings beside this one need the rest
AHEAD = 2  # batches that are prepared while one is computed

Item = TypeVar("Item")
Result = TypeVar("Result")


class FaceStore:
    """The faces of some rows of a dataset, RGB at one side, asked for in batches of uint8 (b, side, side, 3).

    `place` is "device", "host" (decoded once, in memory), or "stream" (decoded whenever they are asked for); "auto"
    takes the first of these where they fit into 40 % of what is free. The pixels are the same everywhere.
    """

    def __init__(
        self, prepared: Prepared, rows: Rows, side: int, device: torch.device, *, place: str = "auto", threads: int = 0
    ) -> None:
        self.prepared, self.side, self.device, self.threads = prepared, side, device, threads
        self.bytes = len(rows) * side * side * 3
        self.place = choose_place(place, self.bytes, device)
        self.number = np.zeros(len(prepared.ids), np.int64)
        self.number[rows] = np.arange(len(rows))
        if self.place != "stream":
            stored = torch.empty((len(rows), side, side, 3), dtype=torch.uint8)
            with Threads(max(threads, 1)) as pool:
                pool.map(lambda pair: self._decode(stored, *pair), enumerate(rows.tolist()))
            self.stored = stored.to(device) if self.place == "device" else stored

    def on_host(self, rows: Rows, pool: "Threads") -> Tensor | None:
        """Gather the faces of a batch in memory, pinned for a GPU; None if they lie on the device already."""
        if self.place == "device":
            return None
        pinned = self.device.type == "cuda"
        batch = torch.empty((len(rows), self.side, self.side, 3), dtype=torch.uint8, pin_memory=pinned)
        if self.place == "host":
            return torch.index_select(self.stored, 0, torch.from_numpy(self.number[rows]), out=batch)
        pool.map(lambda pair: self._decode(batch, *pair), enumerate(rows.tolist()))
        return batch

    def on_device(self, rows: Rows, gathered: Tensor | None) -> Tensor:
        """Bring what `on_host` gave to the device."""
        if gathered is not None:
            return gathered.to(self.device, non_blocking=True)
        return self.stored[torch.from_numpy(self.number[rows]).to(self.device, non_blocking=True)]

    def batches(self, order: Iterable[Rows]) -> Iterator[Tensor]:
        """Yield the batches of faces on the device, prepared ahead by threads if there are any."""
        with Threads(self.threads) as pool:
            gathered = prefetch(lambda rows: (rows, self.on_host(rows, pool)), order, threaded=self.threads > 0)
            yield from (self.on_device(*batch) for batch in gathered)

    def __str__(self) -> str:
        """Say where they are, for the log."""
        where = {"device": f"decoded on {self.device}", "host": "decoded in memory", "stream": "read from the shards"}
        return f"{where[self.place]} at {self.side} px ({self.bytes / 1e6:,.0f} MB)"

    def _decode(self, batch: Tensor, number: int, row: int) -> None:
        batch[number] = torch.from_numpy(resize_face(self.prepared.image(row), self.side))


class Threads:
    """Some threads that share work, or with 0 of them the one that asks."""

    def __init__(self, count: int) -> None:
        self.pool = ThreadPoolExecutor(count) if count else None

    def __enter__(self) -> "Threads":
        """Start nothing: threads start with their first work."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let the threads end; work that has not begun is dropped."""
        if self.pool:
            self.pool.shutdown(cancel_futures=True)

    def map(self, work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """Do the work for each item; return the results in order, or raise what the first failed one raised."""
        return list((self.pool.map if self.pool else map)(work, items))


def prefetch(work: Callable[[Item], Result], items: Iterable[Item], *, threaded: bool) -> Iterator[Result]:
    """Yield work(item) in order; with `threaded` the next two are at work in another thread meanwhile."""
    if not threaded:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(1) as pool:
        pending: deque[Future[Result]] = deque()
        try:
            for item in items:
                pending.append(pool.submit(work, item))
                if len(pending) > AHEAD:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def choose_place(place: str, size: int, device: torch.device) -> str:
    """Decide where `size` bytes of pictures lie; a device without memory of its own is the host."""
    host = torch.device("cpu")
    if place == "auto":
        fits = {where: size <= SHARE * free_memory(on) for where, on in (("device", device), ("host", host))}
        place = next((where for where, enough in fits.items() if enough), "stream")
    return "host" if place == "device" and device.type == "cpu" else place
