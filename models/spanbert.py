"""SpanBERT's pretraining model: BERT, a masked language model head, and the span boundary objective (SBO).

SpanBERT (Joshi et al., 2020, arXiv:1907.10529), section 3. `save_pretrained` writes a folder that transformers' Auto
classes load. Training can start from any published BERT checkpoint:

    model = build_spanbert(BertConfig(...))                 # fresh weights
    model = build_spanbert(Path("klue-bert-base"))          # its encoder and MLM head, a fresh SBO head
    outputs = model(input_ids, attention_mask, **masked)    # masked: the arrays of span_masking.py
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel, BertPreTrainedModel
from transformers.models.bert.modeling_bert import BertOnlyMLMHead
from transformers.utils import ModelOutput

from models.encoders import read_config, weight_files
from models.errors import ModelError, one_line, reason
from models.fast_dropout import quicken
from models.heads import refuse_a_random_encoder
from models.masked_tokens import score_masked_tokens

SboForm = Literal["paper", "original"]
MlmHead = Literal["bert", "tied"]
FORMS = {"sbo": SboForm, "mlm_head": MlmHead}  # entries of config.json; the first form is the one of other BERTs
# The paper's code embeds a position in 200 numbers and predicts the first 20 tokens of a span. A span of ten Korean
# words has 20 to 40 tokens, hence more positions here; the last one stands for all that follow.
SBO_POSITIONS, SBO_POSITION_WIDTH = 128, 200


@dataclass
class SpanBertOutput(ModelOutput):
    """mlm_loss, sbo_loss: sums over the masked tokens, fp32. masked: their number, M. mlm_correct, sbo_correct: for how
    many of them each head gives the right token the highest logit.
    """

    mlm_loss: Tensor | None = None
    sbo_loss: Tensor | None = None
    masked: int | None = None
    mlm_correct: Tensor | None = None
    sbo_correct: Tensor | None = None


class SpanBoundaryHead(nn.Module):
    """The span boundary objective's representation of a token, from the tokens beside its span and its position.

    config.sbo: paper: two layers of linear, GELU and LayerNorm (section 3.2), and the position in the span. original:
    one linear layer, and the encoder's embedding of the position in the row.
    """

    def __init__(self, config: BertConfig):
        super().__init__()
        width = config.hidden_size
        if config.sbo == "original":
            self.transform = nn.Linear(3 * width, width, bias=False)
            return
        self.position_embeddings = nn.Embedding(SBO_POSITIONS, SBO_POSITION_WIDTH)
        self.transform = nn.Sequential(
            nn.Linear(2 * width + SBO_POSITION_WIDTH, width),
            nn.GELU(),
            nn.LayerNorm(width, eps=config.layer_norm_eps),
            nn.Linear(width, width),
            nn.GELU(),
            nn.LayerNorm(width, eps=config.layer_norm_eps),
        )

    def forward(self, left: Tensor, right: Tensor, position: Tensor) -> Tensor:
        """`[M, H]` from the boundaries' states, `[M, H]` each, and the positions' embeddings `[M, P]`."""
        return self.transform(torch.cat([left, right, position], dim=-1))


class TiedPredictions(nn.Module):
    """The MLM head that is nothing but the embeddings' matrix: no transform before it, and no bias."""

    def __init__(self, config: BertConfig):
        super().__init__()
        self.transform = nn.Identity()
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Logits `[..., V]` of states `[..., H]`."""
        return self.decoder(hidden_states)


class BertForSpanPreTraining(BertPreTrainedModel):
    """BERT with both objectives. The keys of encoder and MLM head are those of `BertForMaskedLM`; the SBO head's begin
    with `sbo`. Both heads end in the same vocabulary matrix, the embeddings', and its bias.

    config.mlm_head: bert: a transform (linear, GELU, LayerNorm) before the matrix, and a bias. tied: the matrix alone,
    for both heads, as in the Korean original.
    """

    _tied_weights_keys: ClassVar = {
        "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    }

    def __init__(self, config: BertConfig):
        super().__init__(config)
        if config.model_type != "bert":
            raise ValueError(f"SpanBERT is made of BERT, and this is {config.model_type}")
        for name, forms in FORMS.items():
            setattr(config, name, getattr(config, name, get_args(forms)[0]))
            if getattr(config, name) not in get_args(forms):
                raise ValueError(f"{name} is {' or '.join(get_args(forms))}, not {getattr(config, name)!r}")
        self.bert = BertModel(config, add_pooling_layer=False)  # no loss would train a pooler
        self.cls = BertOnlyMLMHead(config)
        if config.mlm_head == "tied":
            self.cls.predictions = TiedPredictions(config)
            decoder = "cls.predictions.decoder.weight"
            self._tied_weights_keys = {decoder: type(self)._tied_weights_keys[decoder]}
        self.sbo = SpanBoundaryHead(config)
        self.post_init()

    def get_output_embeddings(self) -> nn.Linear:
        """The MLM head's output layer, whose weights transformers ties to the input embeddings."""
        return self.cls.predictions.decoder

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        """Replaces the MLM head's output layer."""
        self.cls.predictions.decoder = new_embeddings
        if self.config.mlm_head == "bert":
            self.cls.predictions.bias = new_embeddings.bias

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        rows: Tensor,
        columns: Tensor,
        labels: Tensor,
        left_boundaries: Tensor,
        right_boundaries: Tensor,
        positions: Tensor,
        **kwargs,
    ) -> SpanBertOutput:
        """The losses of a batch. Logits are computed for the masked tokens only, some at a time.

        input_ids, attention_mask: `[B, L]`. The others: int64 `[M]`, as `span_masking.py` makes them. kwargs:
        for the encoder, such as `packing` (models/unpadding.py).
        """
        hidden_states = self.bert(input_ids, attention_mask=attention_mask, **kwargs).last_hidden_state
        row_starts, tokens = rows * input_ids.shape[1], hidden_states.flatten(0, 1)
        masked, left, right = (
            tokens.index_select(0, row_starts + column) for column in (columns, left_boundaries, right_boundaries)
        )
        if self.config.sbo == "original":
            position = self.bert.embeddings.position_embeddings(columns)
        else:
            position = self.sbo.position_embeddings(positions.clamp(max=SBO_POSITIONS) - 1)
        mlm_loss, mlm_correct = self._score(self.cls.predictions.transform(masked), labels)
        sbo_loss, sbo_correct = self._score(self.sbo(left, right, position), labels)
        return SpanBertOutput(mlm_loss, sbo_loss, len(labels), mlm_correct, sbo_correct)

    def _score(self, hidden_states: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Sum of the losses and number of right predictions for a head's states `[M, H]`."""
        return score_masked_tokens(self.cls.predictions.decoder, hidden_states, labels)


def build_spanbert(
    source: Path | BertConfig,
    sbo: SboForm | None = None,
    from_scratch: bool = False,
    mlm_head: MlmHead | None = None,
) -> BertForSpanPreTraining:
    """The pretraining model, with the weights of a folder's BERT, or with fresh weights for a configuration.

    sbo, mlm_head: the forms of the heads; by default the folder's, else the paper's and BERT's. A head that the folder
    lacks in that form is fresh. from_scratch: the folder's architecture with fresh weights.
    Raises ModelError where the folder holds no BERT, or no weights that fit.
    """
    folder = source if isinstance(source, Path) else None
    try:
        config = source
        if folder is not None:
            config = read_config(folder)
        for name, form in (("sbo", sbo), ("mlm_head", mlm_head)):
            if form:
                setattr(config, name, form)
        config.tie_word_embeddings = True
        config.dtype = torch.float32  # weights are trained in fp32, whatever they were saved in
        if folder is None or from_scratch:
            return quicken(BertForSpanPreTraining(config))
        model, loading = BertForSpanPreTraining.from_pretrained(
            folder, config=config, local_files_only=True, ignore_mismatched_sizes=True, output_loading_info=True
        )
    except Exception as error:  # a broken file raises whatever the library that reads it raises
        where = f"in {folder}" if folder else "of this configuration"
        hint = "" if from_scratch or folder is None or weight_files(folder) else " (the folder holds no weights)"
        why = reason(error, folder) if folder else one_line(error)
        raise ModelError(f"no SpanBERT {where}{hint}: {why}") from error
    refuse_a_random_encoder(model, folder, loading)
    return quicken(model)
