"""Functions of a batch that a GPU replays as CUDA graphs, without Python.

A training step of BERT's shape launches 2,400 kernels, and a GPU computes them faster than Python asks for them. A CUDA
graph is such a sequence, recorded once and started as one (NVIDIA, "CUDA C++ Programming Guide", CUDA Graphs; PyTorch,
"CUDA semantics", the same heading). It computes with the tensors that it was recorded with, whatever they hold by then.
So each batch is copied into tensors that stay, and a graph serves batches of one shape.

A shape runs as ever the first time, which also makes what is made at a first use; it is recorded the second time, when
it is seen to come again, and replayed from then on. So each step is taken once, and a rare shape costs no graph.

Batches have few shapes because `models/collator.py` rounds them up.

On a CPU, REHEARSE_CAPTURE=1 in the environment lets `--capture true` do all of it but the recording: where a GPU
replays, the function is called again with the tensors that stay.
"""

from __future__ import annotations

import dataclasses
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

MOST_GRAPHS = 64


class Recording:
    """A function's call with tensors that stay: recorded, or on a CPU made again.

    given: what the function is called with. pool: the memory that graphs share (`torch.cuda.graph_pool_handle`).
    """

    def __init__(self, function: Callable[[Any], Any], given: Any, device: torch.device, pool: Any):
        self.tensors = [leaf for _, leaf in leaves_of(given) if isinstance(leaf, Tensor)]
        self._call: Callable[[], Any] = lambda: function(given)
        self._graph = None
        if device.type != "cuda":
            return
        self._graph = torch.cuda.CUDAGraph()
        try:
            # thread_local: another thread allocates meanwhile, for the next batches. The outer context goes back to
            # this stream, where the inner one does not because recording failed.
            with (
                torch.cuda.stream(torch.cuda.current_stream()),
                torch.cuda.graph(self._graph, pool=pool, capture_error_mode="thread_local"),
            ):
                self._output = function(given)
        except BaseException:
            # torch leaves its generator as one that records, and would refuse to draw from it.
            generator = torch.cuda.default_generators[torch.cuda.current_device()]
            generator.graphsafe_set_state(generator.clone_state())
            raise

    def replay(self) -> Any:
        """The function's output for what the tensors hold now; valid until it is replayed again."""
        if self._graph is None:
            return self._call()
        self._graph.replay()
        return self._output


class ReplayedFunction:
    """`function(given)`, recorded for each shape of what it is given: for MOST_GRAPHS of them, those used last.

    function: of dictionaries and dataclasses of tensors, floats and constants. It reads no value off the device, and
    all that it changes beside (weights, gradients, sums) stays where it is in memory. What is in tensors, and floats,
    may differ from call to call; everything else makes up the shape of a call.
    place: puts what is given on the device.
    stop: is called with the reason where recording fails. Such a call is made as ever.
    """

    def __init__(
        self,
        function: Callable[[Any], Any],
        place: Callable[[Any], Any],
        device: torch.device,
        pool: Any,
        stop: Callable[[str], None],
    ):
        self.function, self.place, self.device, self.pool, self.stop = function, place, device, pool, stop
        self.records = True
        self.recorded = 0
        self.seconds = 0.0
        self.plain_calls = self.replays = 0
        self._recordings: OrderedDict[Any, Recording] = OrderedDict()
        self._seen: set[Any] = set()

    def __call__(self, given: Any) -> Any:
        """The output, on the device, which is the caller's to keep."""
        if not self.records:
            return self._call_plainly(given)
        shape = shape_of(given)
        recording = self._recordings.get(shape)
        if recording is None and shape in self._seen:
            recording = self._record(given)
            if recording is not None:
                self._recordings[shape] = recording
        self._seen.add(shape)
        if recording is None:
            return self._call_plainly(given)
        self._recordings.move_to_end(shape)
        while len(self._recordings) > MOST_GRAPHS:
            self._recordings.popitem(last=False)
        sources = (leaf for _, leaf in leaves_of(given) if isinstance(leaf, Tensor | float))
        for target, source in zip(recording.tensors, sources, strict=True):
            if isinstance(source, float):
                target.fill_(source)
            else:
                target.copy_(source, non_blocking=True)
        output = recording.replay()
        self.replays += 1
        return output.clone() if isinstance(output, Tensor) else output  # the next replay writes there

    def _call_plainly(self, given: Any) -> Any:
        self.plain_calls += 1
        return self.function(self._placed(given))

    def _placed(self, given: Any) -> Any:
        """`given` on the device; a float, which may be another one in the next call, as a tensor of no dimension."""
        if isinstance(given, dict):
            return {key: self._placed(value) for key, value in given.items()}
        if isinstance(given, float):
            return torch.full((), given, device=self.device)
        return self.place(given)

    def _record(self, given: Any) -> Recording | None:
        """None where it fails; then `stop` has been told why."""
        started = time.perf_counter()
        # Copies, which nobody else holds: on a CPU, placing makes none.
        given = copied(self._placed(given))
        try:
            recording = Recording(self.function, given, self.device, self.pool)
        except RuntimeError as error:  # no memory among others
            self.stop(str(error).strip().split("\n")[0])
            return None
        self.recorded += 1
        self.seconds += time.perf_counter() - started
        return recording

    def forget(self) -> bool:
        """Lets all recordings go, and makes no more; returns whether it made any until now."""
        recorded, self.records = self.records, False
        self._recordings.clear()
        return recorded


def leaves_of(given: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """What dictionaries and dataclasses hold, at any depth, each with its names on the way there."""
    if isinstance(given, dict):
        for name, value in given.items():
            yield from leaves_of(value, (*path, name))
    elif dataclasses.is_dataclass(given):
        for field in dataclasses.fields(given):
            yield from leaves_of(getattr(given, field.name), (*path, field.name))
    else:
        yield path, given


def shape_of(given: Any) -> tuple:
    """What two calls must have in common for one recording to serve both."""

    def part(leaf: Any) -> Any:
        if isinstance(leaf, Tensor):
            return tuple(leaf.shape), leaf.dtype
        return float if isinstance(leaf, float) else leaf

    return tuple((path, part(leaf)) for path, leaf in leaves_of(given))


def copied(given: Any) -> Any:
    """The same with copies of all tensors."""
    if isinstance(given, Tensor):
        return given.clone()
    if isinstance(given, dict):
        return {name: copied(value) for name, value in given.items()}
    if dataclasses.is_dataclass(given):
        values = {field.name: copied(getattr(given, field.name)) for field in dataclasses.fields(given)}
        return dataclasses.replace(given, **values)
    return given
