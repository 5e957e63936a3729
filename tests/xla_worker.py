"""What `test_tpu.py` has torch_xla do in its own environment: .venv-tpu/bin/python xla_worker.py. Prints JSON."""

from __future__ import annotations

import json
import sys

import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from models.collator import without_looking_at_masks
from training.xla import XlaRuntime

LENGTH = 16
CONFIG = BertConfig(vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)


def reads(metrics) -> int:
    """How often a value was fetched from the device."""
    found = metrics.metric_data("TransferFromDeviceTime")
    return found[0] if found else 0


def bert(runtime: XlaRuntime) -> nn.Module:
    torch.manual_seed(0)
    return runtime.prepare(without_looking_at_masks(BertForSequenceClassification(CONFIG)))


def batch_of(rows: int, seed: int) -> dict:
    generator = torch.Generator().manual_seed(seed)
    mask = (torch.arange(LENGTH) < torch.randint(1, LENGTH, (rows, 1), generator=generator)).long()
    return {"input_ids": torch.randint(0, 50, (rows, LENGTH), generator=generator), "attention_mask": mask}


def hidden_dtypes(runtime: XlaRuntime) -> dict[str, str]:
    """Of what a layer gets its products from, by its name, and of the weights."""
    model, found = bert(runtime), {}
    layer = model.bert.encoder.layer[0]
    hooks = {"attention": layer.attention.self.query, "feed-forward": layer.intermediate.dense}
    for name, module in hooks.items():
        module.register_forward_hook(lambda _, inputs, output, name=name: found.update({name: str(output.dtype)}))
    with runtime.autocast():
        model(**runtime.place(batch_of(4, 0)))
    return found | {"weights": str(next(model.parameters()).dtype)}


def steps(runtime: XlaRuntime) -> dict[str, object]:
    """Values read, graphs compiled, and operations that XLA has not, in ten steps with dropout."""
    from torch_xla.debug import metrics  # imported before the runtime is there, it would not be set up as it wants

    model = bert(runtime).train()
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, **runtime.adamw)
    compiled = []
    for number in range(10):
        runtime.seed_step(0, number)
        with runtime.autocast():
            logits = model(**runtime.place(batch_of(4 * runtime.devices, number))).logits
        runtime.backward(logits.float().square().sum() / runtime.number(number + 1))
        runtime.launch()
        runtime.step(optimizer, parameters, 1.0)
        compiled.append(runtime.compilations())
    foreign = [name for name in metrics.counter_names() if name.startswith("aten::")]
    return {"reads": reads(metrics), "compiled": compiled, "foreign": foreign}


def dropout(runtime: XlaRuntime) -> list[bool]:
    """Whether dropout is another one in another step, and in the same step the same, whatever was read before."""
    model = bert(runtime).train()
    batch, found = runtime.place(batch_of(4, 0)), []
    for step in (3, 4, 3):
        runtime.seed_step(1, step)
        found.append(model(**batch).logits.tolist())
    return [found[0] != found[1], found[0] == found[2]]


if __name__ == "__main__":
    runtime = XlaRuntime(sys.argv[1])
    found = {"devices": runtime.devices, "steps": steps(runtime)}
    print(json.dumps(found | {"dtypes": hidden_dtypes(runtime), "dropout": dropout(runtime)}))
