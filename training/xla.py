"""TPUs through torch_xla: `--use_tpu`. The only file that names torch_xla.

One process drives all chips of the machine, and every chip runs the same program on its share of each batch (SPMD: Xu
et al., 2021, "GSPMD", arXiv:2105.04663; `torch_xla.distributed.spmd`). Batches are divided among the chips by their
rows, weights are whole on each, and the compiler adds up the gradients. For the loop it is one device that takes more
rows.

Operations are only recorded, until `launch` compiles and starts them as one graph. Each combination of shapes needs a
graph of its own, which takes seconds to minutes to compile, and reading a value waits for everything that it depends
on. So batches have few shapes, and nothing is read inside a step.
"""

from __future__ import annotations

import functools
import importlib.util
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from training.config import UsageError
from training.runtime import Runtime

ENVIRONMENT = "bash scripts/setup.sh requirements-tpu.txt makes an environment with it, .venv-tpu"


class XlaRuntime(Runtime):
    """All TPU chips of this machine; without a TPU, PJRT_DEVICE=CPU computes the same on the CPU, slowly.

    Raises UsageError where there is no torch_xla, or nothing that it can compute on.
    """

    shapes = "fixed"
    # Not `capturable`, though it is made for such devices: at a learning rate of 0 it gives NaN where no gradient is.
    adamw: ClassVar[dict[str, Any]] = {"fused": False, "foreach": False, "capturable": False}

    def __init__(self, precision: str = "auto"):
        if importlib.util.find_spec("torch_xla") is None:
            raise UsageError(f"use_tpu needs torch_xla, which is not installed here: {ENVIRONMENT}")
        # Read first, because torch_xla sets the variable itself, to CPU where it finds no TPU. Empty counts as not set.
        chosen = os.environ.get("PJRT_DEVICE") or os.environ.pop("PJRT_DEVICE", None)
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # the compiler announces a future change for every graph
        # Otherwise the numbers 0 and 1, such as a learning rate of 0, are compiled into graphs of their own, while all
        # other numbers are inputs of a graph.
        os.environ.setdefault("XLA_NO_SPECIAL_SCALARS", "1")
        logging.disable(logging.WARNING)  # about the device that it takes where there is no TPU
        try:
            import torch_xla
            import torch_xla.core.xla_model
            import torch_xla.runtime as xla
            from torch_xla._internal import tpu
            from torch_xla.debug import metrics
            from torch_xla.distributed import spmd

            self.kind = xla.device_type()
            # Without a TPU the driver searches for minutes.
            is_missing = chosen == "TPU" and not tpu.num_available_chips()
            if is_missing or self.kind is None or (self.kind == "CPU" and not chosen):
                raise UsageError(
                    "use_tpu: torch_xla finds no TPU on this machine; with PJRT_DEVICE=CPU in the environment it "
                    "computes on the CPU, slowly, to try things out"
                )
            if not xla.is_spmd():
                xla.use_spmd()
            self.devices = xla.global_runtime_device_count()
            device = torch.device("xla", 0)
            torch.zeros((), device=device)
        except (RuntimeError, ImportError) as error:
            reason = str(error).strip().split("\n")[0]
            raise UsageError(f"use_tpu: torch_xla cannot compute on PJRT_DEVICE={chosen}: {reason}") from error
        finally:
            logging.disable(logging.NOTSET)
        self._xla, self._spmd, self._metrics = torch_xla, spmd, metrics
        self._mesh = spmd.Mesh(np.arange(self.devices), (self.devices,), ("rows",))
        self._begin(device, self._resolve_precision(precision))

    def _resolve_precision(self, precision: str) -> str:
        if precision == "fp16":
            raise UsageError("precision fp16 needs a GPU: a TPU takes bf16, fp32 or auto")
        return precision if precision != "auto" else "bf16" if self.kind == "TPU" else "fp32"

    def prepare(self, model: nn.Module) -> nn.Module:
        model = model.to(self.device)
        for module in model.modules():
            if type(module) is nn.LayerNorm:
                module.forward = functools.partial(layer_norm, module)
        if hasattr(model, "tie_weights"):
            model.tie_weights()  # XLA's tensors are new, so that a weight that two modules shared exists twice
        self.launch()
        return model

    def place(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The batch on the device, with its rows divided among the chips."""

        def place(tensor: Tensor) -> Tensor:
            placed = tensor.to(self.device)
            if tensor.dim() and len(tensor) % self.devices == 0:
                self._spmd.mark_sharding(placed, self._mesh, ("rows", *[None] * (tensor.dim() - 1)))
            return placed

        return tree_map_only(Tensor, place, batch)

    def step(
        self,
        optimizer: torch.optim.Optimizer,
        parameters: list[nn.Parameter],
        max_norm: float,
        keep_gradients: bool = False,
    ) -> None:
        if max_norm > 0:
            torch.nn.utils.clip_grad_norm_(parameters, max_norm, foreach=False)
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)  # adding to gradients is a different graph from creating them
        self.launch()

    def number(self, value: float | Tensor) -> float | Tensor:
        # Not a scalar: equal scalars become one input, so that 2 rows and a constant 2 would make a graph of their own.
        return torch.tensor([float(value)]).to(self.device).squeeze()

    def launch(self) -> None:
        self._xla.sync()

    def whole(self, tensor: Tensor) -> Tensor:
        self._spmd.mark_sharding(tensor, self._mesh, (None,) * tensor.dim())  # or reading it would compile a graph
        return tensor

    def compilations(self) -> int:
        found = self._metrics.metric_data("CompileTime")
        return found[0] if found else 0

    def are_finite(self, tensors: Sequence[Tensor]) -> bool:
        return super().are_finite([tensor.detach().cpu() for tensor in tensors])

    def storable(self, state: Any) -> Any:
        return tree_map_only(Tensor, lambda tensor: tensor.detach().cpu(), state)

    def save_model(self, model: nn.Module, folder: Path) -> None:
        copies: dict[int, Tensor] = {}  # modules that share a weight get one tensor, which is then written once
        weights = {
            name: copies.setdefault(id(tensor), tensor.detach().cpu())
            for name, tensor in model.state_dict(keep_vars=True).items()
        }
        model.save_pretrained(folder, state_dict=weights)

    def seed_step(self, seed: int, step: int) -> None:
        # XLA's own random state moves with every graph that is started, even for a log line or a checkpoint.
        self._xla.core.xla_model.set_rng_state(int(np.random.SeedSequence([seed, step]).generate_state(1)[0]))

    def peak_memory_bytes(self) -> int:
        try:
            used = self._xla.core.xla_model.get_memory_info(self.device)
        except RuntimeError:  # a CPU does not report it
            return super().peak_memory_bytes()
        return int(used.get("peak_bytes_used", used["bytes_used"]))

    def hardware(self) -> dict[str, Any]:
        facts = {"device": "xla", "precision": self.precision, "processes": self.processes, "chips": self.devices}
        which = os.environ.get("TPU_ACCELERATOR_TYPE", "chip")  # such as v3-8, which a TPU VM has in its environment
        return facts | {"name": f"TPU {which}" if self.kind == "TPU" else f"{self.kind} through XLA"}


def layer_norm(module: nn.LayerNorm, inputs: Tensor) -> Tensor:
    """Applies `module` to `[..., H]`, in fp32.

    torch_xla's own version reshapes all tokens into one long row, for which each chip has to fetch the other chips'.
    """
    inputs = inputs.float()
    centred = inputs - inputs.mean(dim=-1, keepdim=True)
    normed = centred * (centred.square().mean(dim=-1, keepdim=True) + module.eps).rsqrt()
    normed = normed if module.weight is None else normed * module.weight
    return normed if module.bias is None else normed + module.bias
