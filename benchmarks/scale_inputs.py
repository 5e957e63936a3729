"""Files of any size for `bench_scale.py`: rows, corpora and documents, from real data or from the sample data."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import KOELECTRA
from models import build_tokenizer
from processors.pretraining.corpus_readers import open_corpus

MEGABYTE = 1_000_000  # bytes of UTF-8
ROW_OF_TOKENS = 16_384  # characters, more than the longest row has tokens
ROWS_HEADER = "id\tdocument\tlabel\n"


@dataclass(frozen=True)
class Inputs:
    """Where inputs come from, and where they go.

    folder: everything is written here. rows_file: NSMC rows. corpus: files or folders of running text. tokenizer: a
    folder. Each function writes its file unless it is there, and returns its path.
    """

    folder: Path
    rows_file: Path
    corpus: tuple[Path, ...]
    tokenizer: Path

    @classmethod
    def of(cls, content: dict[str, Any]) -> Inputs:
        """From what `content` returned."""
        return cls(*(Path(content[key]) for key in ("folder", "rows_file")), tuple(map(Path, content["corpus"])),
                   Path(content["tokenizer"]))  # fmt: skip

    @property
    def content(self) -> dict[str, Any]:
        """Everything as texts, for JSON."""
        return {key: [str(path) for path in value] if isinstance(value, tuple) else str(value)
                for key, value in vars(self).items()}  # fmt: skip

    def rows(self, count: int) -> Path:
        """`count` NSMC rows. Those of the source are repeated; from the second time on, a number makes them differ."""
        return self._written(f"rows-{count}.txt", lambda: itertools.islice(self._endless_rows(), count), ROWS_HEADER)

    def _endless_rows(self) -> Iterator[str]:
        _, *lines = self.rows_file.read_text(encoding="utf-8").rstrip("\n").split("\n")
        for time in itertools.count():
            for line in lines:
                id, text, label = line.split("\t")
                yield f"{id}\t{text} {time}\t{label}\n" if time else f"{line}\n"

    def long_rows(self, count: int = 64) -> Path:
        """Rows in NSMC's format whose texts are longer than any row, so that each is cut to the length that is set."""
        texts = itertools.islice(self._stretches(ROW_OF_TOKENS), count)
        rows = (f"{number}\t{text}\t{number % 2}\n" for number, text in enumerate(texts))
        return self._written(f"long-rows-{count}.txt", lambda: rows, ROWS_HEADER)

    def text(self, megabytes: float) -> Path:
        """Running text of that many megabytes: the corpus from its beginning, again and again where it is shorter."""

        def documents() -> Iterator[str]:
            left = int(megabytes * MEGABYTE)
            for text in self._documents():
                yield f"{text}\n\n"
                left -= len(text.encode()) + 2
                if left <= 0:
                    return

        return self._written(f"corpus-{megabytes:g}.txt", documents)

    def joined_text(self) -> Path:
        """One document of a million characters, so that blocks are full, however long they are (blank_lines)."""
        return self._written("joined.txt", lambda: in_lines(next(self._stretches(MEGABYTE))))

    def document(self, tokens: int) -> Path:
        """A question of TyDi QA about a document of about `tokens` tokens; the answer stands in its middle."""

        def line() -> Iterator[str]:
            text = next(self._stretches(8 * tokens))
            encoded = build_tokenizer(None, self.tokenizer).backend_tokenizer.encode(text, add_special_tokens=False)
            text = text[: encoded.offsets[min(tokens, len(encoded.offsets)) - 1][1]]
            start = len(text[: len(text) // 2].rpartition(" ")[0].encode()) + 1
            answer = text.encode()[start:].decode().split(" ")[0]
            place = {"plaintext_start_byte": start, "plaintext_end_byte": start + len(answer.encode())}
            question = {"example_id": tokens, "language": "korean", "question_text": "무엇이라고 했나?"}
            answered = {"annotations": [{"minimal_answer": place, "yes_no_answer": "NONE"}]}
            content = question | {"document_plaintext": text} | answered
            yield json.dumps(content, ensure_ascii=False) + "\n"

        return self._written(f"document-{tokens}.jsonl", line)

    def model(self, name: str) -> Path:
        """Configuration and tokenizer, without weights: `short` is an ELECTRA, `long` a BigBird for 4,096 tokens."""
        from transformers import BigBirdConfig, ElectraConfig

        folder = self.folder / f"model-{name}"
        if not folder.is_dir():
            tokenizer = build_tokenizer(None, self.tokenizer)
            size: dict[str, Any] = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
            if name == "short":
                config = ElectraConfig(**size, **KOELECTRA["tiny"])
            else:
                shape = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 512}
                config = BigBirdConfig(**size, **shape, max_position_embeddings=4096)
            config.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
        return folder

    def _documents(self) -> Iterator[str]:
        """The documents of the corpus, for ever."""
        corpus = open_corpus(list(self.corpus))
        while True:
            for _, parts in itertools.groupby(corpus.parts(Counter()), key=lambda part: part.document):
                yield "\n".join(part.text.strip("\n") for part in parts)

    def _stretches(self, characters: int) -> Iterator[str]:
        """Texts of so many characters on one line, each of documents that follow one another."""
        held = ""
        for text in self._documents():
            held += " ".join(text.split()) + " "
            while len(held) >= characters:
                yield held[:characters].strip()
                held = held[characters:]

    def _written(self, name: str, content: Any, header: str = "") -> Path:
        path = self.folder / name
        if not path.is_file():
            with path.open("w", encoding="utf-8") as file:
                file.write(header)
                file.writelines(content())
        return path


def in_lines(text: str) -> Iterator[str]:
    """The sentences of a text, one a line."""
    return (f"{sentence.strip()}\n" for sentence in text.replace(". ", ".\n").split("\n"))
