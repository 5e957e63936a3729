"""Builds a transformers encoder with a head for a task from a model folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from models.encoders import architecture_of, read_config, weight_files
from models.errors import ModelError, reason
from models.trained_heads import AUTO_CLASSES, Head, Pooling, SavedHead, order_outputs, refuse_untrained_head

Attention = Literal["sparse", "full"]


def build_model(
    folder: Path,
    head: Head,
    labels: tuple[str, ...] = (),
    pooling: str = "cls",
    from_scratch: bool = False,
    fresh_head: bool = True,
    attention: Attention | None = None,
    linear_classifier: bool = False,
    model_class: type | None = None,
    say: Callable[[str], None] | None = None,
):
    """transformers' model in `folder`, with the folder's head if that fits the task, else with a fresh one.

    labels: one output each; none for a regression (one output) and for question answering (start and end). The outputs
    of the folder's head are put into their order, by the names in its config.json.
    pooling: for sequences: cls is transformers' own head; mean and max use the head in `models/pooling.py`.
    from_scratch: the folder's architecture with fresh weights. fresh_head: whether the head may be fresh; evaluation
    needs a trained one. linear_classifier: the head in `models/pooling.py`, for cls too, without dropout and bias.
    attention: for BigBird, by default what config.json says; no other model has the choice.
    model_class: a class with a head of its own, such as a subclass of `PooledClassifier`; it is called with the
    configuration, and its checkpoints are read by the same class.
    say: is told, in a line, how the outputs of a trained head became the task's labels, where that needs saying.
    Raises ModelError where the folder has no weights, or weights that do not fit its configuration, and where a trained
    head is needed and it has none, or one for other labels.
    """
    from models.fast_dropout import quicken

    outputs = ("start", "end") if head == "question answering" else labels or ("score",)
    try:
        config = _config_for(folder, head, labels, outputs)
        if from_scratch:
            config.pretraining = None  # it tells how the folder's weights were pretrained, and they are not used
        if architecture_of(config).sparse_attention:
            attention = attention or ("full" if config.attention_type == "original_full" else "sparse")
            config.attention_type = "original_full"  # the form under which models/bigbird.py puts its attention
        saved = SavedHead.of(folder, config)
        if head == "sequence":
            config.pooling, config.linear_classifier = pooling, linear_classifier
        pooled = pooling != "cls" or linear_classifier
        model, loading = _built(None if from_scratch else folder, config, head, pooled, model_class)
    except Exception as error:  # a broken file raises whatever the library that reads it raises
        hint = ""
        if not from_scratch and not weight_files(folder):
            hint = " (the folder holds no weights; --from_scratch starts from fresh ones)"
        raise ModelError(f"no model in {folder}{hint}: {reason(error, folder)}") from error
    if loading is not None:
        fresh = refuse_a_random_encoder(model, folder, loading)
        if not fresh_head:
            refuse_untrained_head(saved, head, labels, Pooling(pooling, linear_classifier), loading)
        if labels and not fresh:
            order_outputs(model, folder, labels, None if fresh_head else say)
    return _with_attention(quicken(model), folder, attention)


def widen_vocabulary(model, tokens: int, folder: Path, is_trained: bool) -> None:
    """Gives the model embeddings for `tokens` tokens, in place; new ones are drawn as BERT's were, from torch's RNG.

    folder: where the model came from. Raises ModelError where it is trained already: it never saw the new tokens.
    """
    size = model.config.vocab_size
    if size >= tokens:
        return
    if is_trained:
        raise ModelError(
            f"{folder} was trained without the markers of this task: it has embeddings for {size} tokens, and with the "
            f"markers there are {tokens}"
        )
    model.resize_token_embeddings(tokens, mean_resizing=False)


def _config_for(folder: Path, head: Head, labels: tuple[str, ...], outputs: tuple[str, ...]):
    """The folder's configuration, with the task's outputs. Raises what transformers raises."""
    import torch

    problem = {} if head != "sequence" else {"problem_type": "single_label_classification" if labels else "regression"}
    config = read_config(
        folder,
        num_labels=len(outputs),
        id2label=dict(enumerate(outputs)),
        label2id={name: number for number, name in enumerate(outputs)},
        **problem,
    )
    config.dtype = torch.float32  # weights are trained in fp32, whatever they were saved in
    return config


def _built(
    folder: Path | None, config, head: Head, pooled: bool, model_class: type | None
) -> tuple[Any, dict[str, Iterable] | None]:
    """The model, and what transformers says about loading it; without a folder, fresh weights and None.

    pooled: with the head in `models/pooling.py`. Raises what transformers raises.
    """
    import transformers

    from models.pooling import PooledClassifier

    if model_class is None and pooled:
        model_class = PooledClassifier
    builder = model_class or getattr(transformers, AUTO_CLASSES[head])
    if folder is None:
        network = model_class(config) if model_class else builder.from_config(config, trust_remote_code=False)
        return network, None
    return builder.from_pretrained(
        folder,
        config=config,
        local_files_only=True,
        trust_remote_code=False,
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )


def _with_attention(model, folder: Path, attention: Attention | None):
    """Replaces BigBird's attention: transformers' sparse attention switches to full for good at the first short batch,
    and sees different blocks in evaluation than in training.
    """
    if not architecture_of(model.config).sparse_attention:
        if attention is not None:
            raise ModelError(f"attention {attention}: only BigBird has that choice, and {folder} holds another model")
        return model
    from models.bigbird import put_attention

    return put_attention(model, attention)


def refuse_a_random_encoder(model, folder: Path, loading: Mapping[str, Iterable]) -> list[str]:
    """Raises ModelError where part of the encoder was left with fresh weights: the files hold a different model.

    loading: the loading information of `from_pretrained`. Returns the keys with fresh weights, which are the head's.
    """
    mismatched = [key for key, *_ in loading["mismatched_keys"]]  # key, shape in the file, shape in the model
    unread_keys = [*loading["missing_keys"], *mismatched]
    encoder = f"{model.base_model_prefix}."
    fresh = sorted(k for k in unread_keys if k.startswith(encoder) and not k.startswith(f"{encoder}pooler."))
    if fresh:
        raise ModelError(
            f"the weights in {folder} do not fit its config.json: {len(fresh)} tensors of the encoder are not there, "
            f"or of another size, first {fresh[0]}"
        )
    return unread_keys
