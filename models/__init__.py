"""What is trained: encoders, their heads and tokenizers. The parts that scripts use are named here.

Nothing that is imported here imports torch, so that `--help` and mistyped flags are answered at once.
"""

from models.encoders import MODELS, KnownModel, find_model, unknown_model, weight_files
from models.errors import ModelError
from models.heads import build_model, widen_vocabulary
from models.tokenizers import build_tokenizer, find_tokenizer

__all__ = [
    "MODELS",
    "KnownModel",
    "ModelError",
    "build_model",
    "build_tokenizer",
    "find_model",
    "find_tokenizer",
    "unknown_model",
    "weight_files",
    "widen_vocabulary",
]
