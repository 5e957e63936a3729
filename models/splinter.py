"""Splinter: BERT with question-aware span selection (QASS), for pretraining on recurring spans and for answers.

Ram et al., 2021, arXiv:2101.00438, section 4. Checkpoints come in three formats, which `splinter_formats.py` recognizes
by their keys: the original's (github.com/oriram/splinter, KoSplinter), transformers' Splinter, and ours, written by
`save_pretrained`. Training can also start from any published BERT.

    model = build_splinter(Path("kosplinter"), initialize_new_qass=True)    # its encoder, and a fresh head to fine-tune
    set_token_ids(model, tokenizer)                                         # the ids of [QUESTION] and [SEP]
    mask = visible_tokens(input_ids, attention_mask, model.config.hidden_token_id)      # fine-tuning hides [SEP]
    outputs = model(input_ids, mask, columns)                               # one question a row: logits [B, L]
    positions = positions_among_visible(mask)                               # pretraining shows [SEP], and counts so
    outputs = model(input_ids, mask, columns, rows, starts, ends, position_ids=positions)   # logits [Q, L], and losses
    export_splinter(model, Path("for-transformers"), "transformers")
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, gelu
from transformers import BertConfig, BertForQuestionAnswering, BertModel, BertPreTrainedModel
from transformers.models.bert.modeling_bert import BertOnlyMLMHead
from transformers.utils import ModelOutput

from models.errors import ModelError, one_line
from models.fast_dropout import quicken
from models.masked_tokens import score_masked_tokens
from models.splinter_formats import (
    MLM_HEAD,
    is_bare_matrix,
    load_mlm_head,
    load_transform,
    load_weights,
    name_in,
    read_config,
    read_weights,
    recognized,
)
from models.splinter_tokens import QUESTION

# Logit of a token that attention does not see, as in the original. A label there costs that much rather than infinity.
HIDDEN_LOGIT = -1e4

Qass = Literal["pretrained", "new"]
Format = Literal["ours", "transformers", "original"]


@dataclass
class SplinterOutput(ModelOutput):
    """start_logits, end_logits: fp32 `[Q, L]`, over the tokens of each question's own row, with HIDDEN_LOGIT at hidden
    tokens. questions: Q.

    If starts and ends were given: start_loss, end_loss: sums over the questions, fp32. right_starts, right_ends: bool
    `[Q]`, whether the labelled token has the highest logit; False where a question has no label.

    If masked tokens were given: mlm_loss: sum over them, fp32. mlm_correct: how many of them are predicted.
    """

    start_logits: Tensor | None = None
    end_logits: Tensor | None = None
    questions: int | None = None
    start_loss: Tensor | None = None
    end_loss: Tensor | None = None
    right_starts: Tensor | None = None
    right_ends: Tensor | None = None
    mlm_loss: Tensor | None = None
    mlm_correct: Tensor | None = None


class SpanTransform(nn.Module):
    """Dense, GELU, LayerNorm: `[..., H]` to `[..., H]`."""

    def __init__(self, width: int):
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.LayerNorm = nn.LayerNorm(width)  # eps 1e-5, as in the original and transformers, not the encoder's 1e-12

    def forward(self, hidden_states: Tensor) -> Tensor:
        """`[..., H]` to `[..., H]`."""
        return self.LayerNorm(gelu(self.dense(hidden_states)))


class QuestionAwareSpanSelection(nn.Module):
    """Scores, for each question, every token of its row as start and as end of the answer (section 4.1)."""

    def __init__(self, config: BertConfig):
        super().__init__()
        width = config.hidden_size
        self.query_start_transform, self.query_end_transform = SpanTransform(width), SpanTransform(width)
        self.start_transform, self.end_transform = SpanTransform(width), SpanTransform(width)
        self.start_classifier = nn.Linear(width, width, bias=False)
        self.end_classifier = nn.Linear(width, width, bias=False)

    def forward(self, hidden_states: Tensor, questions: Tensor, places: Tensor, most: int) -> tuple[Tensor, Tensor]:
        """Logits `[Q, L]` for starts, and for ends.

        hidden_states: `[B, L, H]`. questions: `[Q, H]`, the hidden states of the question tokens. places: `[Q]`, a
        distinct place for each question; each row has `most` places, from `row * most` on.
        """
        queries = (
            self.start_classifier(self.query_start_transform(questions)),
            self.end_classifier(self.query_end_transform(questions)),
        )
        tokens = (self.start_transform(hidden_states), self.end_transform(hidden_states))
        start, end = (_products(*pair, places, most) for pair in zip(queries, tokens, strict=True))
        return start, end

    def begin_with_mlm_head(self, weights: Mapping[str, Tensor], folder: Path, scale: float) -> None:
        """Begins all four transforms as BERT's MLM head, which has the same layers, and both matrices as `scale` times
        the identity: a question then selects the tokens that the MLM head would take for what is hidden.

        weights: those of the folder, under our keys. Raises ModelError where they have no such head.
        """
        transforms = (self.query_start_transform, self.query_end_transform, self.start_transform, self.end_transform)
        load_transform(transforms, weights, folder)
        with torch.no_grad():
            for classifier in (self.start_classifier, self.end_classifier):
                classifier.weight.copy_(scale * torch.eye(*classifier.weight.shape))


def _products(queries: Tensor, tokens: Tensor, places: Tensor, most: int) -> Tensor:
    """`[Q, L]`: dot products of each query, `[Q, H]`, with the tokens of its own row, out of `[B, L, H]`.

    Always in fp32, also under autocast: bf16 cannot tell apart two logits near 50 that differ by less than 0.25.
    """
    rows, length, width = tokens.shape
    with torch.autocast(tokens.device.type, enabled=False):
        queries, tokens = queries.float(), tokens.float()
        by_row = queries.new_zeros(rows * most, width).index_copy(0, places, queries).view(rows, most, width)
        return (by_row @ tokens.transpose(1, 2)).view(rows * most, length).index_select(0, places)


def _places(rows: Tensor, batch: int, most: int) -> Tensor:
    """`[Q]`: `row * most`, plus the number of earlier questions in the same row."""
    of_row = rows.unsqueeze(1) == torch.arange(batch, device=rows.device)  # [Q, B]
    until_here = of_row.long().cumsum(dim=0).gather(1, rows.unsqueeze(1)).squeeze(1)
    return rows * most + until_here - 1


class BertForSpanSelection(BertPreTrainedModel):
    """BERT and QASS. The encoder's keys are the usual ones of BERT; the head's begin with `qass`.

    In the configuration: qass: "pretrained" for a head from recurring span selection, "new" for one that was
    initialized for fine-tuning. question_token_id, hidden_token_id, kosplinter_compat: see `set_token_ids`. mlm:
    whether BERT's masked language model head is there too, with BERT's keys, for the joint objective.
    """

    _tied_weights_keys: ClassVar = {
        "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    }

    def __init__(self, config: BertConfig):
        super().__init__(config)
        if config.model_type != "bert":
            raise ValueError(f"Splinter is made of BERT, and this is {config.model_type}")
        config.qass = getattr(config, "qass", "pretrained")
        if config.qass not in get_args(Qass):
            raise ValueError(f"qass is {' or '.join(get_args(Qass))}, not {config.qass!r}")
        self.bert = BertModel(config, add_pooling_layer=False)  # no loss would train a pooler
        self.qass = QuestionAwareSpanSelection(config)
        config.mlm = getattr(config, "mlm", False)
        if config.mlm:
            self.cls = BertOnlyMLMHead(config)
        else:
            self._tied_weights_keys = {}
        self.post_init()

    def get_output_embeddings(self) -> nn.Linear | None:
        """The MLM head's output layer, whose weights transformers ties to the input embeddings; None without one."""
        return self.cls.predictions.decoder if self.config.mlm else None

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        """Replaces the MLM head's output layer."""
        self.cls.predictions.decoder = new_embeddings
        self.cls.predictions.bias = new_embeddings.bias

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        columns: Tensor,
        rows: Tensor | None = None,
        starts: Tensor | None = None,
        ends: Tensor | None = None,
        most_questions: int | None = None,
        token_type_ids: Tensor | None = None,
        masked_rows: Tensor | None = None,
        masked_columns: Tensor | None = None,
        masked_labels: Tensor | None = None,
        **kwargs,
    ) -> SplinterOutput:
        """The logits for the questions' answers, and the losses if answers are given.

        input_ids, attention_mask: `[B, L]`; the mask is 0 wherever attention does not see, also inside rows
        (`visible_tokens`). columns, rows: int64 `[Q]`, the places of the question tokens, in any order; without rows,
        each row has one question, Q = B. starts, ends: int64 `[Q]`, first and last token of each answer, in any column.
        most_questions: an upper bound for a row's questions; without it they are counted, and a GPU has to wait.
        token_type_ids: ignored, as Splinter has none. masked_rows, masked_columns, masked_labels: int64 `[M]`, the
        masked tokens for the MLM head, and their ids before masking. kwargs: for the encoder, such as `packing`
        (models/unpadding.py) and `position_ids`, `[B, L]`.
        """
        hidden_states = self.bert(input_ids, attention_mask=attention_mask, **kwargs).last_hidden_state
        batch, length = input_ids.shape
        if rows is None:
            rows = places = torch.arange(batch, device=columns.device)
            most = 1
        else:
            if most_questions is None:
                most_questions = int(torch.bincount(rows, minlength=batch).max())
            most = max(1, most_questions)
            places = _places(rows, batch, most)
        questions = hidden_states.flatten(0, 1).index_select(0, rows * length + columns)
        hidden = (attention_mask == 0).index_select(0, rows)
        start_logits, end_logits = (
            logits.masked_fill(hidden, HIDDEN_LOGIT) for logits in self.qass(hidden_states, questions, places, most)
        )
        outputs = SplinterOutput(start_logits, end_logits, len(columns))
        if masked_labels is not None:
            masked = hidden_states.flatten(0, 1).index_select(0, masked_rows * length + masked_columns)
            head = self.cls.predictions
            outputs.mlm_loss, outputs.mlm_correct = score_masked_tokens(
                head.decoder, head.transform(masked), masked_labels
            )
        if starts is None or ends is None:
            return outputs
        # Here no column stands for "no label"; transformers ignores the column that equals the id of [PAD].
        outputs.start_loss = cross_entropy(start_logits, starts, reduction="sum")
        outputs.end_loss = cross_entropy(end_logits, ends, reduction="sum")
        outputs.right_starts = start_logits.argmax(dim=-1) == starts
        outputs.right_ends = end_logits.argmax(dim=-1) == ends
        return outputs


def visible_tokens(input_ids: np.ndarray, attention_mask: np.ndarray, hidden_token_id: int) -> np.ndarray:
    """The attention mask `[B, L]`, with 0 also at the hidden token, usually [SEP] (`set_token_ids`)."""
    return np.where(input_ids == hidden_token_id, 0, attention_mask)


def build_splinter(
    source: Path | BertConfig,
    initialize_new_qass: bool | None = None,
    from_scratch: bool = False,
    mlm: bool = False,
    qass_from_mlm: bool = False,
) -> BertForSpanSelection:
    """The model in a folder in any of the formats, or a model with fresh weights for a configuration.

    initialize_new_qass: True: a fresh head to fine-tune, the original's default. False: the folder's head, which must
    exist. None: the folder's head, or a fresh one to pretrain where the folder has none.
    from_scratch: the folder's architecture with fresh weights. mlm: with an MLM head, which is the folder's if it has
    one, else fresh; the original needs it in pretraining only. qass_from_mlm: a fresh head begins with the folder's MLM
    head (`QuestionAwareSpanSelection.begin_with_mlm_head`).
    Raises ModelError where the folder holds no BERT, where keys are missing or unknown, and where sizes differ.
    """
    folder = source if isinstance(source, Path) else None
    config = source if folder is None else read_config(folder)
    weights, prefixes = ({}, "ours") if folder is None or from_scratch else recognized(read_weights(folder), folder)
    has_head = any(key.startswith("qass.") for key in weights)
    if initialize_new_qass or prefixes == "original, new":
        config.qass = "new"
    elif prefixes == "original" or not has_head:
        config.qass = "pretrained"
    config.mlm = mlm
    config.tie_word_embeddings = True
    config.dtype = torch.float32  # weights are trained in fp32, whatever they were saved in
    try:
        model = BertForSpanSelection(config)
    except Exception as error:  # a broken configuration raises whatever its reader raises
        where = "of this configuration" if folder is None else f"in {folder}"
        raise ModelError(f"no Splinter {where}: {one_line(error)}") from error
    if weights:
        if initialize_new_qass is False and not has_head:
            no_head = f"{folder} holds no span selection head, only an encoder"
            raise ModelError(f"{no_head}: training with --initialize_new_qass makes one")
        with_head = has_head and not initialize_new_qass
        load_weights(model, weights, prefixes, with_head, folder)
        if qass_from_mlm:
            if with_head:
                raise ModelError(f"{folder} holds a span selection head already: leave qass_from_mlm out")
            model.qass.begin_with_mlm_head(weights, folder, config.initializer_range)
        if mlm:
            load_mlm_head(model.cls.predictions, weights)
    return quicken(model)


def build_with_ordinary_head(folder: Path, from_scratch: bool = False) -> BertForQuestionAnswering:
    """BERT's question answering model: the encoder from a folder in any of the formats, and a fresh linear head."""
    splinter = build_splinter(folder, initialize_new_qass=True, from_scratch=from_scratch)
    model = BertForQuestionAnswering(splinter.config)
    model.bert = splinter.bert
    return model


def export_splinter(model: BertForSpanSelection, folder: Path, form: Format) -> None:
    """Writes weights and configuration in one of the formats, each of which `build_splinter` reads.

    The other projects' formats are without the MLM head, which nothing uses after pretraining.

    transformers: for its SplinterForQuestionAnswering and SplinterForPreTraining, whose caller has to hide [SEP].
    original: for github.com/oriram/splinter; the head's keys tell whether it was pretrained or is new.
    Raises ModelError where transformers would not know which token is [QUESTION].
    """
    if form == "ours":
        model.save_pretrained(folder)
        return
    if form == "transformers" and getattr(model.config, "question_token_id", None) is None:
        raise ModelError(
            f"which id {QUESTION} has is not known yet, and transformers looks for it: set_token_ids first"
        )
    prefixes = "original, new" if form == "original" and model.config.qass == "new" else form
    weights = {}
    for key, value in model.state_dict().items():
        if key.startswith(MLM_HEAD):
            continue
        name = name_in(prefixes, key)
        weights[name] = (value.T if is_bare_matrix(name, prefixes) else value).detach().cpu().contiguous()
    own = ("model_type", "architectures", "mlm")
    config = {name: value for name, value in model.config.to_dict().items() if name not in own}
    folder.mkdir(parents=True, exist_ok=True)
    if form == "original":
        BertConfig.from_dict(config | {"architectures": ["ModelWithQASSHead"]}).save_pretrained(folder)
        torch.save(weights, folder / "pytorch_model.bin")
    else:
        from safetensors.torch import save_file
        from transformers import SplinterConfig

        SplinterConfig.from_dict(config | {"architectures": ["SplinterForQuestionAnswering"]}).save_pretrained(folder)
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
