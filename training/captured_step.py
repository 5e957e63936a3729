"""Functions of a batch that a GPU replays as CUDA graphs, without Python.

A training step of BERT's shape launches 2,400 kernels, and a GPU computes them faster than Python launches them. A CUDA
graph is such a sequence of kernels, captured once and launched as one (NVIDIA, "CUDA C++ Programming Guide", CUDA
Graphs; PyTorch, "CUDA semantics", the same heading). A graph always reads and writes the same memory, so each batch is
copied there first, and a graph serves batches of one shape.

When a shape is seen for the first time, the function is simply called, which also creates whatever is created lazily
(optimizer state, tables). When the shape comes a second time, the call is captured, and from then on it is replayed. So
each step is taken once, and a rare shape costs no graph.

Batches have few shapes because `models/collator.py` rounds them up.

On a CPU, REHEARSE_CAPTURE=1 in the environment lets `--capture true` do everything but the capturing: where a GPU
replays a graph, the function is called again on the same memory.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

MOST_GRAPHS = 64


class CapturedCall:
    """A call of a function, captured as a graph; on a CPU the function is simply called again.

    inputs: what the function is called with; their memory is the graph's. pool: the memory that graphs share for what
    they compute (`torch.cuda.graph_pool_handle`).
    """

    def __init__(self, function: Callable[[Any], Any], inputs: Any, device: torch.device, pool: Any):
        self.tensors = [leaf for _, leaf in leaves_of(inputs) if isinstance(leaf, Tensor)]
        self._call: Callable[[], Any] = lambda: function(inputs)
        self._graph = None
        if device.type != "cuda":
            return
        self._graph = torch.cuda.CUDAGraph()
        try:
            # If capturing fails, `torch.cuda.graph` does not go back to this stream; the outer context does.
            # thread_local: the thread that makes the next batches allocates memory meanwhile.
            with (
                torch.cuda.stream(torch.cuda.current_stream()),
                torch.cuda.graph(self._graph, pool=pool, capture_error_mode="thread_local"),
            ):
                self._output = function(inputs)
        except BaseException:
            clean_up_after_failed_capture(pool)
            raise

    def replay(self) -> Any:
        """The function's output for what the inputs' memory holds now; valid until the next replay."""
        if self._graph is None:
            return self._call()
        self._graph.replay()
        return self._output


def clean_up_after_failed_capture(pool: Any) -> None:
    """Cleans up after a capture that failed, which torch does not do.

    Otherwise its generator stays in capture mode and refuses to draw, and the memory of the pool is never freed.
    """
    device = torch.cuda.current_device()
    generator = torch.cuda.default_generators[device]
    generator.graphsafe_set_state(generator.clone_state())
    # Private (seen in torch 2.13 and 2.14). The first raises where torch has done both already.
    with contextlib.suppress(RuntimeError, AttributeError, TypeError):
        torch._C._cuda_endAllocateToPool(device, pool)
        torch._C._cuda_releasePool(device, pool)


class ReplayedFunction:
    """`function(inputs)`, captured for each shape of its inputs; the MOST_GRAPHS graphs used last are kept.

    function: takes dictionaries and dataclasses of tensors, floats and constants. It reads no value off the device, and
    whatever else it changes (weights, gradients, sums) keeps its place in memory. What is in tensors, and floats, may
    differ from call to call; everything else makes up the shape of a call.
    place: puts inputs on the device. on_failure: is called with the reason where capturing fails; that call is then
    made without a graph.
    """

    def __init__(
        self,
        function: Callable[[Any], Any],
        place: Callable[[Any], Any],
        device: torch.device,
        pool: Any,
        on_failure: Callable[[str], None],
    ):
        self.function, self.place, self.device, self.pool = function, place, device, pool
        self.on_failure = on_failure
        self.captures = True
        self.captured = 0
        self.seconds = 0.0
        self.plain_calls = self.replays = 0
        self._calls: OrderedDict[Any, CapturedCall] = OrderedDict()
        self._seen: set[Any] = set()

    def __call__(self, inputs: Any) -> Any:
        """The output, on the device. The caller may keep it: a later replay does not overwrite it."""
        if not self.captures:
            return self._call_plainly(inputs)
        shape = shape_of(inputs)
        call = self._calls.get(shape)
        if call is None and shape in self._seen:
            call = self._capture(inputs)
            if call is not None:
                self._calls[shape] = call
        self._seen.add(shape)
        if call is None:
            return self._call_plainly(inputs)
        self._calls.move_to_end(shape)
        while len(self._calls) > MOST_GRAPHS:
            rare, _ = self._calls.popitem(last=False)
            self._seen.discard(rare)
        sources = (leaf for _, leaf in leaves_of(inputs) if isinstance(leaf, Tensor | float))
        for target, source in zip(call.tensors, sources, strict=True):
            if isinstance(source, float):
                target.fill_(source)
            else:
                target.copy_(source, non_blocking=True)
        output = call.replay()
        self.replays += 1
        return output.clone() if isinstance(output, Tensor) else output  # because the next replay overwrites it

    def _call_plainly(self, inputs: Any) -> Any:
        self.plain_calls += 1
        return self.function(self._placed(inputs))

    def _placed(self, inputs: Any) -> Any:
        """The inputs on the device. A float, which may differ in the next call, becomes a tensor of no dimension."""
        if isinstance(inputs, dict):
            return {name: self._placed(value) for name, value in inputs.items()}
        if isinstance(inputs, float):
            return torch.full((), inputs, device=self.device)
        return self.place(inputs)

    def _capture(self, inputs: Any) -> CapturedCall | None:
        """The captured call; None where capturing fails, also for want of memory: `on_failure` is told why."""
        started = time.perf_counter()
        own = copied(self._placed(inputs))  # placing makes no copy of what is on the device already
        try:
            call = CapturedCall(self.function, own, self.device, self.pool)
        except RuntimeError as error:
            reason = reason_of(error)
        else:
            self.captured += 1
            self.seconds += time.perf_counter() - started
            return call
        # Not inside the except clause, where the exception still holds the memory of the failed call.
        self.on_failure(reason)
        return None

    @property
    def has_graphs(self) -> bool:
        """Whether any shape is captured now."""
        return bool(self._calls)

    def free_graphs(self) -> None:
        """Frees all graphs, and captures no more."""
        self.captures = False
        self._calls.clear()


def reason_of(error: BaseException) -> str:
    """One line that says why a capture failed, and at which line outside torch.

    Ending a failed capture raises an error of its own that says nothing; the cause is the error behind it.
    """
    while error.__context__ is not None:
        error = error.__context__
    what = str(error).strip().split("\n")[0]
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "site-packages" not in frame.filename]
    return f"{what} ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else what


def leaves_of(inputs: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The values in nested dictionaries and dataclasses, each with the names that lead to it."""
    if isinstance(inputs, dict):
        for name, value in inputs.items():
            yield from leaves_of(value, (*path, name))
    elif dataclasses.is_dataclass(inputs):
        for field in dataclasses.fields(inputs):
            yield from leaves_of(getattr(inputs, field.name), (*path, field.name))
    else:
        yield path, inputs


def shape_of(inputs: Any) -> tuple:
    """What two calls must have in common for one graph to serve both."""

    def part(leaf: Any) -> Any:
        if isinstance(leaf, Tensor):
            return tuple(leaf.shape), leaf.dtype
        return float if isinstance(leaf, float) else leaf

    return tuple((path, part(leaf)) for path, leaf in leaves_of(inputs))


def copied(inputs: Any) -> Any:
    """`inputs` with a copy of each tensor."""
    if isinstance(inputs, Tensor):
        return inputs.clone()
    if isinstance(inputs, dict):
        return {name: copied(value) for name, value in inputs.items()}
    if dataclasses.is_dataclass(inputs):
        values = {field.name: copied(getattr(inputs, field.name)) for field in dataclasses.fields(inputs)}
        return dataclasses.replace(inputs, **values)
    return inputs
