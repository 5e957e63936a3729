"""`--compile`: torch.compile for everything in a model except attention."""

from __future__ import annotations

import torch
from torch import nn
from transformers import AttentionInterface

from models.bigbird import BlockSparseAttention
from models.errors import ModelError
from models.unpadding import ATTENTION_NAME, unpadded_attention


def compile_layers(model: nn.Module) -> nn.Module:
    """Sets `model` to be compiled at its first call, in place, for batches of any size; its weights keep their names.

    Attention is not compiled: rows are packed differently in each batch, and each would be compiled again.
    Raises ModelError where there is no C++ compiler.
    """
    from torch._inductor import cpp_builder, exc

    try:
        cpp_builder.get_cpp_compiler()
    except exc.InvalidCxxCompiler as error:
        raise ModelError(
            "compile needs a C++ compiler, and there is none: install one, for example with apt install g++"
        ) from error
    AttentionInterface.register(ATTENTION_NAME, torch.compiler.disable(unpadded_attention))
    for module in model.modules():
        if isinstance(module, BlockSparseAttention):
            module.forward = torch.compiler.disable(module.forward)
    model.compile(dynamic=True)
    return model
