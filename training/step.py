"""One optimizer step: the gradients of its micro-batches, the update, and what is counted on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from training.config import LoopConfig
from training.optimizer import build_optimizer, keep_rates_on_device, learning_rate_schedule
from training.plan import Batch, Plan, without_counts
from training.runtime import Runtime

LossOf = Callable[[nn.Module, Batch], Tensor]


class Stepper:
    """Takes the steps of a plan. Between two steps, `follow` replaces the plan.

    On a GPU a step is replayed as a CUDA graph (`captured_step.py`). A step of one micro-batch in one process is one
    graph, and its gradients exist only inside it. Otherwise each micro-batch is a graph that adds to gradients that
    stay in memory, and the update is a graph of its own.

    has_second_loss: whether the loss of a step is the sum of two means, each over terms of its own. The number of terms
    of the second is each batch's "second_terms"; `loss_of` finds "second_weight" in its batch, and multiplies the sum
    of the second loss by it. However a step is cut into micro-batches, its loss then is the same.
    """

    def __init__(
        self,
        model: nn.Module,
        loss_of: LossOf,
        config: LoopConfig,
        runtime: Runtime,
        plan: Plan,
        has_second_loss: bool = False,
    ):
        self.model, self.loss_of, self.config, self.runtime = model, loss_of, config, runtime
        self.has_second_loss = has_second_loss
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = build_optimizer(model, config, runtime)
        self.follow(plan)
        # This process's loss since it was last read, and of the step under way, on the device: reading it would make
        # the device wait in every step. In fp64, so that it does not matter when it is read.
        self.loss, self.step_loss = (torch.zeros((), device=runtime.device, dtype=torch.float64) for _ in range(2))
        self.terms = self.real_tokens = self.padded_tokens = 0
        self._reached: list[nn.Parameter] | None = None
        self._take_whole = runtime.replayed(self._whole)
        self._take_micro_batch = runtime.replayed(self._micro_batch)
        # fp16's scaler keeps in Python how far it is in a step.
        self._take_update = self._update if runtime.precision == "fp16" else runtime.replayed(self._update)
        self._may_try_again = True
        self._compiled_before = runtime.compilations()

    def follow(self, plan: Plan) -> None:
        """Goes on with the steps of a different plan."""
        self.plan = plan
        self.schedule = learning_rate_schedule(self.optimizer, self.config, plan.steps)
        keep_rates_on_device(self.optimizer, self.runtime)

    def take(self, batches: list[Batch], rows: int) -> None:
        """Takes a step of `rows` rows, over this process's micro-batches. Raises UsageError where memory runs out."""
        batches = self._weighted(batches)
        with self.runtime.memory_runs_out(self._smaller_batches()):
            self._compute_twice_if_need_be(batches, rows)
        for batch in batches:
            self.terms += batch["terms"]
            self.real_tokens += batch["real_tokens"]
            self.padded_tokens += batch["padded_tokens"]
        self.schedule.step()

    def _weighted(self, batches: list[Batch]) -> list[Batch]:
        """The batches with "second_weight" where there is a second loss: terms of the step for each of its terms.

        Once a step, as all processes take part: a step that is tried a second time is tried by one process alone.
        """
        if not self.has_second_loss:
            return batches
        counts = [float(sum(batch[name] for batch in batches)) for name in ("terms", "second_terms")]
        terms, second_terms = self.runtime.sums(counts)
        weight = self.runtime.number(terms / max(1.0, second_terms))
        return [batch | {"second_weight": weight} for batch in batches]

    def _smaller_batches(self) -> str:
        return (
            f"lower train_batch_size ({self.config.train_batch_size}) and raise gradient_accumulation_steps "
            f"({self.config.gradient_accumulation_steps}) as much, for the same steps; or take shorter rows"
        )

    def _compute_twice_if_need_be(self, batches: list[Batch], rows: int) -> None:
        """Tries a second time without graphs, in case they took the memory."""
        try:
            self._compute(batches, rows)
            return
        except torch.OutOfMemoryError:
            if not (self.runtime.has_graphs and self._may_try_again):
                raise
        # Not inside the except clause, where the exception still holds the memory of the failed step.
        self.runtime.stop_capturing("memory has run out, and graphs take as much of it as a step")
        self.optimizer.zero_grad(set_to_none=True)
        self.step_loss.zero_()
        self._compute(batches, rows)

    def _compute(self, batches: list[Batch], rows: int) -> None:
        terms = sum(batch["terms"] for batch in batches)
        inputs = [{"batch": without_counts(batch), "rows": rows} for batch in batches]
        self._may_try_again = True
        if self.is_one_graph:
            self._take_whole({**inputs[0], "factor": self._factor(rows, terms)})
            return
        for micro_batch in inputs:
            self._take_micro_batch(micro_batch)
        self._may_try_again = False  # the other processes would not try again
        self._take_update({"factor": self._factor(rows, self._add_up_gradients(terms))})

    @property
    def is_one_graph(self) -> bool:
        """Whether a step is captured as one graph."""
        runtime, plan = self.runtime, self.plan
        is_one_micro_batch = plan.step_rows <= plan.batch_size and runtime.processes == 1
        return runtime.captures and is_one_micro_batch and runtime.precision != "fp16"

    def _whole(self, inputs: dict[str, Any]) -> None:
        self.optimizer.zero_grad(set_to_none=True)  # a capture that failed may have left gradients behind
        self._micro_batch(inputs)
        self._update(inputs)

    def _micro_batch(self, inputs: dict[str, Any]) -> None:
        """Adds the gradients of a micro-batch's loss sum, divided by the rows of the step.

        They are divided by rows for now, because fp16 gradients must not grow with the size of the batch.
        """
        with self.runtime.autocast():
            loss = self.loss_of(self.model, inputs["batch"])
        self.runtime.backward(loss / self.runtime.number(inputs["rows"]))
        self.step_loss += loss.detach()
        self.runtime.launch()

    def _update(self, inputs: dict[str, Any]) -> None:
        """The optimizer's step, with the gradients multiplied by `factor`."""
        self._may_try_again = False  # some weights may be new ones already
        if inputs["factor"] is not None:
            torch._foreach_mul_([p.grad for p in self.parameters if p.grad is not None], inputs["factor"])
        self.loss += self.step_loss
        self.step_loss.zero_()
        keep_gradients = self.runtime.captures and not self.is_one_graph
        self.runtime.step(self.optimizer, self.parameters, self.config.max_grad_norm, keep_gradients)

    def _factor(self, rows: int, terms: int | Tensor) -> float | Tensor | None:
        """The factor that turns gradients of (loss sum / `rows`) into gradients of the mean over `terms`; None: 1."""
        if (
            isinstance(terms, int) and terms == rows and self.runtime.shapes != "fixed"
        ):  # None would compile a second graph
            return None
        return self.runtime.number(rows / terms)

    def _add_up_gradients(self, terms: int) -> int | Tensor:
        """Adds up the gradients of all processes; returns the number of terms in their losses."""
        if self.runtime.processes == 1:
            return terms
        for parameter in self._with_gradients():
            if parameter.grad is None:  # this process had no rows in this step
                parameter.grad = torch.zeros_like(parameter)
        total = torch.full((), terms, dtype=torch.float32, device=self.runtime.device)
        self.runtime.add_up([*(p.grad for p in self.parameters if p.grad is not None), total])
        return total

    def _with_gradients(self) -> list[nn.Parameter]:
        """The parameters that the loss reaches in any process, found in the first step of a run.

        All processes must add up the same tensors, so no later step may reach other parameters. No loss here does.
        """
        if self._reached is None:
            found = self.runtime.sums([float(p.grad is not None) for p in self.parameters])
            self._reached = [p for p, count in zip(self.parameters, found, strict=True) if count]
        return self._reached

    def read(self) -> tuple[float, float, int, int]:
        """Loss, terms, real tokens, and tokens with padding since this was last asked, added up over all processes.

        A device to CPU synchronisation, so only where a step logs or saves.
        """
        with self.runtime.memory_runs_out(self._smaller_batches()):  # because a device may report an error late
            counted = [float(self.loss), float(self.terms), self.real_tokens, self.padded_tokens]
        loss, terms, real_tokens, padded_tokens = self.runtime.sums(counted)
        self.loss.zero_()
        self.runtime.launch()  # launched by itself, or it would be part of the next step's graph
        self.terms = self.real_tokens = self.padded_tokens = 0
        return loss, terms, int(real_tokens), int(padded_tokens)

    def look(self) -> tuple[float, float]:
        """Loss and terms of this process since `read`, which stay as they are: the CPU waits for the device once."""
        with self.runtime.memory_runs_out(self._smaller_batches()):
            return float(self.loss), float(self.terms)

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step, known without asking the device."""
        return self.schedule.base_lrs[0] * self.schedule.lr_lambdas[0](self.schedule.last_epoch)

    def content(self) -> dict[str, Any]:
        """The state of optimizer, schedule and scaler for a checkpoint, in the form of a run without graphs."""
        optimizer, schedule = self.optimizer.state_dict(), self.schedule.state_dict()
        rates = [self.learning_rate] * len(optimizer["param_groups"])
        groups = [group | {"lr": rate} for group, rate in zip(optimizer["param_groups"], rates, strict=True)]
        return {
            "optimizer": self.runtime.storable(optimizer | {"param_groups": groups}),
            "schedule": schedule | {"_last_lr": rates},
            "scaler": self.runtime.scaler_state(),
        }

    def load(self, content: Mapping[str, Any]) -> None:
        """Goes back to a state that `content` returned."""
        for group in content["optimizer"]["param_groups"]:
            group |= self.runtime.adamw  # for this device, not for the one where it was saved
        self.optimizer.load_state_dict(content["optimizer"])
        self.schedule.load_state_dict(content["schedule"])
        keep_rates_on_device(self.optimizer, self.runtime)
        self.runtime.load_scaler_state(content["scaler"])

    def graphs(self) -> dict[str, Any]:
        """Graphs that this run has had compiled, its evaluations' too, or captured for its steps; nothing where there
        are none. plain_steps: those without a graph; of several micro-batches, each is counted.
        """
        if self.runtime.shapes == "fixed":
            return {"compilations": self.runtime.compilations() - self._compiled_before}
        if not self.runtime.captures:
            return {}
        steps = self._take_whole if self.is_one_graph else self._take_micro_batch
        return {
            "graphs": steps.captured,
            "capture_seconds": round(steps.seconds, 1),
            "replayed_steps": steps.replays,
            "plain_steps": steps.plain_calls,
        }

    def describe_graphs(self) -> str:
        """A line about `graphs`; "" where there are none."""
        found = self.graphs()
        if "compilations" in found:
            return f"graphs compiled for training: {found['compilations']}"
        if not found:
            return ""
        done = "captured" if self.runtime.device.type == "cuda" else "rehearsed"
        what = "steps" if self.is_one_graph else "micro-batches"
        return (
            f"graphs {done} for training: {found['graphs']}, in {found['capture_seconds']} s; "
            f"{what} replayed: {found['replayed_steps']:,}, taken without a graph: {found['plain_steps']:,}"
        )

    def close(self) -> None:
        """Frees graphs, optimizer and model, which refer to one another, without waiting for the garbage collector."""
        self._take_whole = self._take_micro_batch = self._take_update = None
