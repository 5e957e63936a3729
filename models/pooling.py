"""A classification head on the first token, the mean or the maximum of a row's real tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput


def pool(hidden_states: Tensor, attention_mask: Tensor, pooling: str) -> Tensor:
    """`[B, L, H]` to `[B, H]`: the first token (cls), or mean or max over the tokens whose mask is 1.

    Raises ValueError for any other pooling.
    """
    if pooling == "cls":
        return hidden_states[:, 0]
    real = attention_mask.unsqueeze(-1).bool()
    if pooling == "mean":
        return hidden_states.masked_fill(~real, 0).sum(dim=1) / real.sum(dim=1).clamp(min=1)
    if pooling == "max":
        return hidden_states.masked_fill(~real, torch.finfo(hidden_states.dtype).min).amax(dim=1)
    raise ValueError(f"pooling is cls, mean or max, not {pooling!r}")


class PooledClassifier(PreTrainedModel):
    """Any transformers encoder, the pooling in `config.pooling`, dropout, and one linear layer.

    config.linear_classifier: the layer has no dropout and no bias, as in the Korean SpanBERT.

    The encoder's attribute has transformers' name for it (`bert`, `electra`, ...), so that `AutoModel.from_pretrained`
    finds the encoder in a folder saved by this class, and this class finds it in a published folder.
    """

    config_class = PreTrainedConfig
    supports_gradient_checkpointing = True
    _supports_attention_backend = True

    def __init__(self, config: PreTrainedConfig):
        encoder = AutoModel.from_config(config, trust_remote_code=False)
        self._supports_sdpa = encoder._supports_sdpa  # BigBird does not, and would refuse the default
        super().__init__(config)
        if type(encoder).__name__.startswith(("Bert", "Roberta", "XLMRoberta")):
            encoder.pooler = None  # no loss would train it
        self.base_model_prefix = encoder.base_model_prefix
        setattr(self, self.base_model_prefix, encoder)
        dropout = getattr(config, "hidden_dropout_prob", getattr(config, "dropout", 0.0))
        self.dropout = nn.Dropout(0.0 if config.linear_classifier else dropout)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels, bias=not config.linear_classifier)
        self.post_init()

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **kwargs) -> SequenceClassifierOutput:
        """`input_ids`, `attention_mask`: `[B, L]`; logits: `[B, num_labels]`."""
        encoder = getattr(self, self.base_model_prefix)
        hidden_states = encoder(input_ids=input_ids, attention_mask=attention_mask, **kwargs).last_hidden_state
        pooled = pool(hidden_states, attention_mask, self.config.pooling)
        return SequenceClassifierOutput(logits=self.classifier(self.dropout(pooled)))
