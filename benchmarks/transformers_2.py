"""The question answering of transformers 2, which KoELECTRA ran, as it was."""

from __future__ import annotations

import importlib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np


class Transformers2:
    """The code that KoELECTRA ran: `pip install --no-deps --target FOLDER transformers==2.11.0`.

    folder: FOLDER. id_of: the vocabulary of a WordPiece tokenizer that keeps case. lengths: of
    `processors.qa_features.Lengths`.
    """

    def __init__(self, folder: Path, id_of: dict[str, int], lengths: Any):
        self.lengths = lengths
        bert, self.squad, self.metrics = _transformers_2(folder)
        with tempfile.TemporaryDirectory() as temporary:
            vocabulary = Path(temporary) / "vocab.txt"
            vocabulary.write_text("".join(f"{token}\n" for token in sorted(id_of, key=id_of.__getitem__)), "utf-8")
            self.tokenizer = bert.BertTokenizer(str(vocabulary), do_lower_case=False)
        self.tokenizer.model_max_length = lengths.max_seq_length
        self.squad.squad_convert_example_to_features_init(self.tokenizer)

    def examples(self, questions: Any) -> list:
        """Of `processors.qa.Questions`, each with an answer."""
        rows = zip(
            questions.ids, questions.texts, questions.context_of, questions.answers, questions.spans, strict=True
        )
        return [
            self.squad.SquadExample(id, text, questions.contexts[context], answers[0], start, "")
            for id, text, context, answers, (start, _) in rows
        ]

    def windows(self, examples: list) -> list[list]:
        size, step, query = self.lengths.max_seq_length, self.lengths.doc_stride, self.lengths.max_query_length
        return [self.squad.squad_convert_example_to_features(one, size, step, query, True) for one in examples]

    def decode(
        self, examples: list, windows: list[list], logits: Sequence[np.ndarray], n_best: int, max_answer_length: int
    ) -> dict[str, str]:
        """Question id -> best answer. logits: of each question, `[its windows, 2, max_seq_length]`.

        A question whose answer it did not find has no windows here, and is answered with "empty".
        """
        features, results = [], []
        for number, (of_question, values) in enumerate(zip(windows, logits, strict=True)):
            for window, (start, end) in zip(of_question, values[: len(of_question)].tolist(), strict=True):
                window.example_index, window.unique_id = number, len(features)
                features.append(window)
                results.append(self.squad.SquadResult(len(results), start, end))
        return self.metrics.compute_predictions_logits(
            examples, features, results, n_best, max_answer_length, False, None, None, None, False, False, 0.0,
            self.tokenizer,
        )  # fmt: skip


def _transformers_2(folder: Path) -> list[ModuleType]:
    """Three of its modules, loaded beside today's transformers and without the models, which no longer load."""
    if not (folder / "transformers" / "tokenization_bert.py").is_file():
        sys.exit(f"{folder} does not hold transformers 2: pip install --no-deps --target {folder} transformers==2.11.0")
    todays = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "transformers"}
    try:
        for name in todays:
            del sys.modules[name]
        for name in ("transformers", "transformers.data", "transformers.data.processors", "transformers.data.metrics"):
            package = sys.modules[name] = ModuleType(name)
            package.__path__ = [str(folder.joinpath(*name.split(".")))]
        file_utils = sys.modules["transformers.file_utils"] = ModuleType("transformers.file_utils")
        file_utils.is_torch_available = file_utils.is_tf_available = lambda: False
        file_utils.cached_path = file_utils.hf_bucket_url = file_utils.is_remote_url = None
        file_utils.torch_required = lambda function: function
        names = ("tokenization_bert", "data.processors.squad", "data.metrics.squad_metrics")
        modules = [importlib.import_module(f"transformers.{name}") for name in names]
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == "transformers"]:
            del sys.modules[name]
        sys.modules.update(todays)
    # It compares a list with a number and looks where that is true: nowhere, which today's NumPy refuses to say.
    modules[1].np = SimpleNamespace(**vars(np) | {"where": lambda found: np.where(np.atleast_1d(found))})
    return modules
