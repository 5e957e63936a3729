"""The machine: device, precision, processes. No other file names torch.distributed, and only `xla.py` torch_xla."""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
import resource
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed
from torch import Tensor, nn

from storage.activity import note_a_line
from training.captured_step import ReplayedFunction
from training.config import RuntimeConfig, UsageError, rehearses_capture
from training.memory import is_about_memory
from training.processes import is_main_process, number_on_this_machine, process_count, process_number
from training.pulse import write_line

# The other processes wait while the first tokenizes a corpus. A process that dies is noticed at once all the same.
LONGEST_WAIT = datetime.timedelta(days=1)


class Runtime:
    """Where and how a run computes.

    device: the one that this process computes on. precision: fp32, bf16 or fp16, never `auto`. processes: number of
    processes; process: the number of this one. Methods that involve all processes are called by all, in the same order.
    devices: how many devices this process drives. shapes: how batches are padded (`models/collator.py`): exact; rounded
    where steps are captured; fixed where each shape is compiled. captures: whether steps are replayed as CUDA graphs.
    """

    devices = 1
    captures = False
    has_stopped_capturing = False  # set by any run in this process
    processes = 1
    process = 0

    def __init__(self, no_cuda: bool = False, precision: str = "auto", capture: bool | None = None):
        """capture: None captures steps on a GPU. Raises UsageError where it is true and torch finds no GPU."""
        # Once a model knows its rows by heart, gradients are full of subnormal numbers, with which a CPU computes many
        # times slower: they count as 0. Threads take this over from the thread that starts them, so it comes first.
        torch.set_flush_denormal(True)
        on_gpus = torch.cuda.is_available() and not no_cuda
        if capture and not on_gpus and not rehearses_capture():
            raise UsageError(f"capture needs a GPU: {why_no_gpu()}")
        if process_count() > 1 and not torch.distributed.is_initialized():
            on_this_machine, gpus = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), torch.cuda.device_count()
            if on_gpus and on_this_machine > gpus:
                raise UsageError(f"{on_this_machine} processes for {gpus} GPUs: one each (--nproc_per_node {gpus})")
            # gloo besides NCCL: messages other than gradients should not make a GPU wait.
            torch.distributed.init_process_group("cpu:gloo,cuda:nccl" if on_gpus else "gloo", timeout=LONGEST_WAIT)
        self.processes, self.process = process_count(), process_number()
        device = torch.device("cuda", number_on_this_machine()) if on_gpus else torch.device("cpu")
        if on_gpus:
            torch.cuda.set_device(device)
        self.captures = device.type == "cuda" if capture is None else capture
        self._pool = torch.cuda.graph_pool_handle() if self.captures and device.type == "cuda" else None
        self._begin(device, resolve_precision(precision, device))

    def _begin(self, device: torch.device, precision: str) -> None:
        self.device, self.precision = device, precision
        self.is_main = is_main_process()
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == "fp16")
        self._scaler.scale(torch.zeros((), device=self.device))  # creates the scale: a captured step must not
        self.is_asked_to_stop: Callable[[], bool] = lambda: False  # asked after each batch of an evaluation
        self._said: set[str] = set()
        self._replayed: weakref.WeakSet[ReplayedFunction] = weakref.WeakSet()

    @property
    def shapes(self) -> str:
        """How batches are padded: rounded where steps are captured, else exact."""
        return "rounded" if self.captures else "exact"

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of matrix products."""
        return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[self.precision]

    @property
    def adamw(self) -> dict[str, Any]:
        """Arguments of AdamW. capturable: it reads no value off the device."""
        return {"fused": True, "foreach": None, "capturable": self.captures and self.device.type == "cuda"}

    def replayed(self, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Wraps `function` so that it takes batches that are not on the device yet, and is replayed where steps are."""
        if not self.captures:
            return lambda inputs: function(self.place(inputs))
        replayed = ReplayedFunction(function, self.place, self.device, self._pool, self.stop_capturing)
        replayed.captures = not Runtime.has_stopped_capturing
        self._replayed.add(replayed)
        return replayed

    @property
    def has_graphs(self) -> bool:
        """Whether any graph is kept, of training or of predictions."""
        return any(replayed.has_graphs for replayed in self._replayed)

    def stop_capturing(self, reason: str) -> None:
        """Frees all graphs and captures no more in this process, as what failed once fails again. Says why, once."""
        for replayed in self._replayed:
            replayed.free_graphs()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            torch.cuda.empty_cache()
        if not Runtime.has_stopped_capturing:
            self.say(f"warning: steps are no longer captured, as with --capture false, and may take longer: {reason}")
        Runtime.has_stopped_capturing = True

    def autocast(self) -> AbstractContextManager:
        """The context in which matrix products run at this run's precision."""
        if self.precision == "fp32":
            return torch.autocast(self.device.type, enabled=False)
        return torch.autocast(self.device.type, dtype=self.dtype)

    def prepare(self, model: nn.Module) -> nn.Module:
        """The model on this process's device, with the first process's weights in all of them."""
        model = model.to(self.device)
        if self.processes > 1:
            with _lost_processes_named():
                for tensor in model.state_dict().values():
                    torch.distributed.broadcast(tensor, src=0)
        return model

    def place(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The batch on the device; whatever has a `to` goes there, at any depth, the rest stays as it is."""

        def place(value: Any) -> Any:
            if isinstance(value, dict):
                return {key: place(item) for key, item in value.items()}
            return value.to(self.device, non_blocking=True) if hasattr(value, "to") else value

        return place(batch)

    def backward(self, loss: Tensor) -> None:
        """Adds the gradients of a loss, which fp16 scales."""
        self._scaler.scale(loss).backward()

    def step(
        self,
        optimizer: torch.optim.Optimizer,
        parameters: list[nn.Parameter],
        max_norm: float,
        keep_gradients: bool = False,
    ) -> None:
        """Clips the gradients to `max_norm` (0: not) and steps; fp16 skips a step whose gradients overflowed.

        keep_gradients: set to zero where they are in memory, for what was recorded with them; else they are freed.
        """
        self._scaler.unscale_(optimizer)
        if max_norm > 0:
            torch.nn.utils.clip_grad_norm_(parameters, max_norm)
        self._scaler.step(optimizer)
        self._scaler.update()
        optimizer.zero_grad(set_to_none=not keep_gradients)

    def number(self, value: float | Tensor) -> float | Tensor:
        """A number that may differ in each step, in a form for computing on the device."""
        return value

    def launch(self) -> None:
        """Starts the pending computations on a device that collects them first (XLA); CPUs and GPUs do not."""

    def whole(self, tensor: Tensor) -> Tensor:
        """The tensor with the parts from all devices, for reading."""
        return tensor

    def compilations(self) -> int:
        """How many graphs have been compiled so far; always 0 without a compiler."""
        return 0

    def batch_of(self, rows: int) -> int | None:
        """The number of rows that a batch of up to `rows` rows must have; None: as many as it happens to have."""
        return rows if self.shapes == "fixed" else None

    def are_finite(self, tensors: Sequence[Tensor]) -> bool:
        """Whether all numbers in all tensors are finite; waits for the device."""
        return all(torch.isfinite(tensor).all() for tensor in tensors)

    def storable(self, state: Any) -> Any:
        """The state of an optimizer, with tensors that any machine can load."""
        return state

    def save_model(self, model: nn.Module, folder: Path) -> None:
        """Writes weights and configuration of a transformers model."""
        model.save_pretrained(folder)

    def seed_step(self, seed: int, step: int) -> None:
        """Seeds the dropout of one step, on devices whose generator state cannot be saved."""

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replaces each tensor, on this process's device, by its sum over all processes."""
        if self.processes == 1:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        with _lost_processes_named():
            torch.distributed.all_reduce(flat)
        totals = flat.split([tensor.numel() for tensor in tensors])
        # One call instead of hundreds of copies, between which a GPU would wait.
        torch._foreach_copy_(list(tensors), [total.view_as(part) for total, part in zip(totals, tensors, strict=True)])

    @contextlib.contextmanager
    def memory_runs_out(self, remedy: str) -> Iterator[None]:
        """Turns errors about memory into a UsageError that says what helps."""
        try:
            yield
        except (MemoryError, RuntimeError) as error:
            if not is_about_memory(error):
                raise
            held = f"{self.peak_memory_bytes() / 2**30:.1f} GiB were held before"
            raise UsageError(f"memory has run out on {self.hardware()['name']} ({held}): {remedy}") from error

    def sums(self, numbers: Sequence[float]) -> list[float]:
        """The sum of each number over all processes."""
        if self.processes == 1:
            return list(numbers)
        totals = torch.tensor(numbers, dtype=torch.float64)
        with _lost_processes_named():
            torch.distributed.all_reduce(totals)
        return totals.tolist()

    def gather(self, thing: Any) -> list[Any]:
        """The `thing` of every process, in the order of the processes; anything that can be pickled."""
        if self.processes == 1:
            return [thing]
        things: list[Any] = [None] * self.processes
        with _lost_processes_named():
            torch.distributed.all_gather_object(things, thing)
        return things

    def wait(self) -> None:
        """Waits until all processes have called this."""
        self.gather(None)

    @contextlib.contextmanager
    def first_alone(self) -> Iterator[None]:
        """The first process runs the block alone; the others run it afterwards, and find its work in the cache."""
        if not self.is_main:
            self.wait()
        yield
        if self.is_main:
            self.wait()

    def seed(self, seed: int) -> None:
        """Seeds torch's generators, from which fresh weights and dropout are drawn."""
        torch.manual_seed(seed)

    def seed_apart(self, *seeds: int) -> None:
        """Gives every process but the first dropout of its own; the first goes on drawing as it would alone."""
        if self.process > 0:
            torch.manual_seed(int(np.random.SeedSequence([*seeds, self.process]).generate_state(1)[0]))

    @property
    def pins_memory(self) -> bool:
        """Whether batches are made in page-locked memory, from which a GPU copies faster."""
        return self.device.type == "cuda"

    def scaler_state(self) -> dict[str, Any]:
        """State of the loss scaling, for a checkpoint; empty unless the precision is fp16."""
        return self._scaler.state_dict()

    def load_scaler_state(self, state: dict[str, Any]) -> None:
        """Goes back to a state that `scaler_state` returned."""
        self._scaler.load_state_dict(state)

    def say(self, text: str) -> None:
        """A line for the person at the keyboard, on standard error, so that standard output is free for results."""
        if self.is_main:
            write_line(text)
            note_a_line()

    def say_once(self, text: str) -> None:
        """Says a line as `say` does, but each line only once: some would be repeated for every checkpoint."""
        if text not in self._said:
            self._said.add(text)
            self.say(text)

    def random_state(self) -> dict[str, Any]:
        """The state of every global generator that dropout may draw from."""
        state = {"torch": torch.get_rng_state()}
        if self.device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(self.device)
        return state

    def load_random_state(self, state: dict[str, Any]) -> None:
        """Goes back to a state that `random_state` returned."""
        torch.set_rng_state(state["torch"])
        if "cuda" in state and self.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda"], self.device)

    def peak_memory_bytes(self) -> int:
        """Most memory this run has held: of the GPU where there is one, else of this process."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        kibibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return kibibytes if sys.platform == "darwin" else kibibytes * 1024

    def hardware(self) -> dict[str, Any]:
        """What the run computed on, for its results."""
        facts = {"device": self.device.type, "precision": self.precision, "processes": self.processes}
        if self.device.type == "cuda":
            return facts | {"name": torch.cuda.get_device_name(self.device)}
        name = cpu_capabilities().get("cpu_name", platform.processor() or platform.machine())
        return facts | {"name": name, "threads": torch.get_num_threads()}

    def describe(self) -> str:
        """`bf16 on AMD EPYC (2 threads)`, `bf16 on 4 x NVIDIA H100`."""
        facts = self.hardware()
        count = facts.get("threads", 0)
        threads = f" ({count} thread{'s' * (count > 1)})" if count else ""
        count = self.processes * self.devices
        several = f"{count} x " if count > 1 else ""
        return f"{self.precision} on {several}{facts['name']}{threads}"


@contextlib.contextmanager
def _lost_processes_named() -> Iterator[None]:
    """Raises UsageError where another process has ended; torch would only speak of a socket."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        reason = str(error).strip().split("\n")[0]
        raise UsageError(
            "the processes of this run have lost one another: one has ended (it may have said why above), or cannot be "
            f"reached; torch says: {reason}. --resume goes on from the newest checkpoint"
        ) from error


def why_no_gpu() -> str:
    """What torch says where it finds no GPU: none is there, the driver is too old, or torch was built without CUDA."""
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return str(error).strip().split("\n")[0]
    return "no_cuda is set"


def resolve_precision(precision: str, device: torch.device) -> str:
    """`auto` is bf16 where the hardware multiplies bf16 natively, else fp32. Raises UsageError for fp16 on a CPU."""
    if precision == "fp16" and device.type == "cpu":
        raise UsageError("precision fp16 needs a GPU: a CPU takes bf16, fp32 or auto")
    if precision != "auto":
        return precision
    if device.type == "cuda":
        # Turing and older emulate bf16: `is_bf16_supported` says yes there, the compute capability says what is native.
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp32"
    able = cpu_capabilities()
    return "bf16" if any(able.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")) else "fp32"


def cpu_capabilities() -> dict[str, Any]:
    """What torch reports about this CPU; torch 2.9, which goes with torch_xla, reports nothing."""
    return torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}


def open_runtime(config: RuntimeConfig) -> Runtime:
    """The runtime that the settings ask for. Raises UsageError where the machine cannot provide it."""
    if config.use_tpu:
        from training.xla import XlaRuntime

        return XlaRuntime(config.precision)
    return Runtime(config.no_cuda, config.precision, config.capture)


def quiet_libraries() -> None:
    """Silences transformers' progress bars and load reports; its errors still show."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
