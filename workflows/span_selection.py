"""Fine-tuning Splinter: a [QUESTION] after the question asks for the answer, and attention does not see [SEP].

Ram et al., "Few-Shot Question Answering by Pretraining Span Selection" (2021), in the form that KoSplinter uses.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models import ModelError
from models.errors import NotBertError
from processors.features import SpecialTokens
from processors.qa.answer_scores import best, best_or_none
from processors.qa.decoding import Predictions
from processors.qa.questions import Questions
from processors.qa.windows import GoldSpans, QuestionFeatures
from processors.task import DataError, Task
from workflows.fine_tuning import ReadyModel, Split
from workflows.question_answering import (
    ArraysOf,
    QuestionAnsweringConfig,
    padded_windows,
    read_questions,
    split_of_windows,
    usable,
    windows_of,
)

if TYPE_CHECKING:
    from training.runtime import Runtime


# --------------------------------------------------------------------------------------------------------------------
# Questions that can be asked
# --------------------------------------------------------------------------------------------------------------------


def without_texts_that_ask(rows: Questions, skip_bad_rows: bool = False) -> Questions:
    """The rows whose texts do not hold [QUESTION], whichever head is trained: two heads should learn from the same.

    Raises DataError where there are others, unless they are to be left out.
    """
    from models.splinter_tokens import QUESTION

    pairs = zip(rows.texts, rows.context_of, strict=True)
    asking = np.array([QUESTION in text or QUESTION in rows.contexts[context] for text, context in pairs])
    if not asking.any():
        return rows
    if not skip_bad_rows:
        hint = ". --skip_bad_rows leaves them out" if rows.is_labelled else ""
        refuse_texts_that_ask(rows, asking, QUESTION, hint)
    first = rows.ids[int(asking.argmax())]
    rows = rows.where(~asking)
    rows.counts[f"questions left out that hold {QUESTION}, first {first!r}"] += int(asking.sum())
    return rows


def refuse_texts_that_ask(rows: Questions, asking: np.ndarray, token: str, hint: str = "") -> None:
    """Raises DataError. asking: bool `[N]`, the questions that hold the token in their text or their context."""
    raise DataError(
        f"question {rows.ids[int(asking.argmax())]!r} or its context holds {token}, which stands where the answer is "
        f"asked for, once in a row; questions of this kind: {asking.sum()}{hint}"
    )


def read_askable_questions(task: Task, path: Path | None, encoding: str) -> Questions:
    """Questions to be answered; raises DataError where one holds [QUESTION]."""
    return without_texts_that_ask(read_questions(task, path, encoding))


# --------------------------------------------------------------------------------------------------------------------
# The model and its tokens
# --------------------------------------------------------------------------------------------------------------------


def build_span_selector(config: QuestionAnsweringConfig, runtime: Runtime, folder: Path, tokenizer, is_trained: bool):
    """The model in a folder with question-aware span selection on it; its configuration knows the tokens that matter.

    Raises ModelError where the encoder is not a BERT or the vocabulary has no [QUESTION].
    """
    from models.splinter import build_splinter
    from models.splinter_tokens import add_question_token, set_token_ids

    from_scratch = config.from_scratch and not is_trained
    try:
        model = build_splinter(folder, config.initialize_new_qass and not is_trained, from_scratch)
    except NotBertError as error:
        raise ModelError(f"{error} (--head linear takes any encoder)") from None
    if config.add_question_token and not is_trained:
        add_question_token(tokenizer, model)
    trained_with_compat = getattr(model.config, "kosplinter_compat", None)
    if is_trained and trained_with_compat is False and config.kosplinter_compat:
        raise ModelError(f"{folder} was trained without kosplinter_compat: leave it out")
    # A head that was trained by KoSplinter's own code does not tell, and the setting does.
    tells = is_trained and trained_with_compat is not None
    set_token_ids(model, tokenizer, None if tells else config.kosplinter_compat)
    if not is_trained:
        ids = [model.config.question_token_id, model.config.hidden_token_id]
        asks, hidden = tokenizer.convert_ids_to_tokens(ids)
        head = "a fresh qass head" if config.initialize_new_qass or from_scratch else "the pretrained qass head"
        runtime.say_once(f"{head}; {asks} asks, {hidden} is hidden from attention")
    return model


def plain_special_tokens(tokenizer) -> SpecialTokens:
    """`[CLS] question [SEP] window [SEP]`, also where transformers' tokenizer for Splinter would ask in between."""
    from models.splinter_tokens import QUESTION

    special = SpecialTokens.of(tokenizer, pair=True)
    if tokenizer.get_vocab().get(QUESTION) not in special.middle:
        return special
    return dataclasses.replace(special, middle=special.middle[-1:])


def asking_special_tokens(tokenizer, question_id: int) -> SpecialTokens:
    """`[CLS] question [QUESTION] . [SEP] window [SEP]`. A long question is cut, [QUESTION] and full stop are not."""
    from models.splinter_tokens import QUESTION

    special = SpecialTokens.of(tokenizer, pair=True)
    own, asked = tokenizer.get_vocab().get(QUESTION), [question_id]
    if own in special.middle:  # transformers' tokenizer for Splinter puts it there, and the full stop
        at = special.middle.index(own)
        return dataclasses.replace(special, middle=special.middle[:at] + asked + special.middle[at + 1 :])
    ids = tokenizer(f"{QUESTION}.", add_special_tokens=False)["input_ids"]
    full_stop = ids[ids.index(own) + 1 :] if own in ids else ids[-1:]
    return dataclasses.replace(special, middle=asked + full_stop + special.middle)


# --------------------------------------------------------------------------------------------------------------------
# Windows that ask
# --------------------------------------------------------------------------------------------------------------------


def encode_asking_questions(
    config: QuestionAnsweringConfig, runtime: Runtime, model: ReadyModel, name: str, rows: Questions
) -> Split:
    """As `encode_questions`; in every window a [QUESTION] asks, and `columns`, `[B]`, says where it stands.

    Raises DataError where a text holds the token that asks.
    """
    question_id, hidden_id = model.network.config.question_token_id, model.network.config.hidden_token_id
    rows = usable(config, name, rows)
    features = windows_of(config, runtime, model, rows, asking_special_tokens(model.tokenizer, question_id))
    refuse_tokens_that_ask(features, model.tokenizer, question_id)
    gold = None
    if name == "train":
        gold = without_hidden_ends(runtime, features, GoldSpans.of(features), hidden_id)
    arrays_of = asking_windows(padded_windows(model), question_id, hidden_id)
    return split_of_windows(config, runtime, model, name, features, gold, arrays_of)


def refuse_tokens_that_ask(features: QuestionFeatures, tokenizer, question_id: int) -> None:
    """Raises DataError where a text is tokenized to the token that asks, even if the text itself does not show it."""
    asking = np.isin(features.context_of, features.contexts.rows_with("input_ids", question_id))
    asking[features.queries.rows_with("input_ids", question_id)] = True
    if asking.any():
        refuse_texts_that_ask(features.questions, asking, tokenizer.convert_ids_to_tokens(question_id))


def without_hidden_ends(runtime: Runtime, features: QuestionFeatures, gold: GoldSpans, hidden_id: int) -> GoldSpans:
    """Without the answers that begin or end at a token hidden from attention: no logit there can be learned."""
    tokens = [features.contexts.row("input_ids", context) for context in features.context_of]
    ends = zip(tokens, gold.first, gold.last, strict=True)
    hidden = np.array([first >= 0 and hidden_id in (ids[first], ids[last]) for ids, first, last in ends])
    if hidden.any():
        first = features.questions.ids[int(hidden.argmax())]
        runtime.say_once(
            f"answers that begin or end at a token hidden from attention, learned as not there: {hidden.sum()} "
            f"(first {first!r})"
        )
    return dataclasses.replace(gold, first=np.where(hidden, -1, gold.first), last=np.where(hidden, -1, gold.last))


def asking_windows(padded: ArraysOf, question_id: int, hidden_id: int) -> ArraysOf:
    """The arrays with an attention mask that hides `hidden_id`, and with `columns`, where each window asks."""
    from models.splinter import visible_tokens

    def arrays_of(features: QuestionFeatures, windows: np.ndarray) -> dict[str, np.ndarray]:
        arrays, special = padded(features, windows), features.special
        arrays["attention_mask"] = visible_tokens(arrays["input_ids"], arrays["attention_mask"], hidden_id)
        columns = len(special.prefix) + features.query_lengths[features.question[windows]]
        return arrays | {"columns": columns + special.middle.index(question_id)}

    return arrays_of


def span_selection_losses(model, batch: dict[str, Any]) -> Any:
    """Sum over the windows of the mean of the cross entropies of start and end."""
    starts, ends = batch["positions"].unbind(dim=1)
    outputs = model(**batch["inputs"], starts=starts, ends=ends)
    return (outputs.start_loss + outputs.end_loss) / 2


def scores_of_questions(rows: Questions, outputs: Predictions) -> Mapping[str, Sequence[float]]:
    """Exact match and F1 of each question by its id, which comparisons of two models need."""
    score = best_or_none if rows.has_unanswerable else best
    return {id: score(outputs.answers[id], golds) for id, golds in zip(rows.ids, rows.answers, strict=True)}
