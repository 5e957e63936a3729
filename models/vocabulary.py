"""Trains vocabularies on a corpus: SentencePiece's BPE, which the Korean SpanBERT used, and WordPiece.

    tokenizer = train_sentencepiece(corpus.lines(), Path("vocabulary"), vocab_size=8000, lower_case=True)
    tokenizer = AutoTokenizer.from_pretrained("vocabulary")         # reads it back

Both are native tokenizers: `tokenizer.json` alone decides a text's tokens. The folder is written whole or not at all,
and the same lines give the same bytes.
"""

from __future__ import annotations

import errno
import io
import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from models.bert_tokens import INPUT_NAMES, MAX_LENGTH
from models.errors import ModelError
from storage.whole import whole_folder

# In the order of their ids, from 0; SentencePiece's are those of the Korean SpanBERT.
SENTENCEPIECE_SPECIAL = ("[PAD]", "[UNK]", "[BOS]", "[EOS]", "[SEP]", "[CLS]", "[MASK]")
WORDPIECE_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
SENTENCEPIECE_FILE = "sentencepiece.model"
# The vocabulary covers this share of the texts' characters; the rarest ones are [UNK] (SentencePiece's default).
CHARACTER_COVERAGE = 0.9995
MAX_LINES = 1_000_000
LONGEST_WORD = 100  # characters; longer ones (web addresses, encoded data) teach nothing and cost time and memory

_TOO_LONG = re.compile(rf"\S{{{LONGEST_WORD + 1},}}")


def train_sentencepiece(
    lines: Iterable[str],
    folder: Path,
    vocab_size: int = 8000,
    lower_case: bool = False,
    max_lines: int = MAX_LINES,
    seed: int = 42,
) -> PreTrainedTokenizerFast:
    """Trains a BPE vocabulary of `vocab_size` pieces and the seven special ones (Sennrich et al., arXiv:1508.07909;
    Kudo and Richardson, arXiv:1808.06226). Writes it to `folder`, with SentencePiece's own file, `sentencepiece.model`.

    lines: a sentence or a paragraph each. If there are more than `max_lines`, that many are drawn at random (`seed`).
    lower_case: whether the tokenizer lower-cases every text.

    The tokens equal SentencePiece's on all but three of 276,674 real lines. Two rare cases of its normalization, NFKC,
    differ: a loose final (ㄳ) right after an open syllable joins it here, and a combining mark after a replaced
    character is dropped.

    Raises ModelError where the folder is not empty or cannot be written, and where the lines have too little text for
    `vocab_size` pieces, or more characters than pieces.
    """
    import sentencepiece

    _refuse_filled(folder)
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(_drawn(lines, max_lines, seed)),
            model_writer=model,
            model_type="bpe",
            vocab_size=vocab_size + len(SENTENCEPIECE_SPECIAL),
            character_coverage=CHARACTER_COVERAGE,
            normalization_rule_name="nmt_nfkc_cf" if lower_case else "nmt_nfkc",
            max_sentence_length=2**30,  # bytes; longer lines would be left out
            pad_id=0,
            pad_piece="[PAD]",
            unk_id=1,
            unk_piece="[UNK]",
            bos_id=2,
            bos_piece="[BOS]",
            eos_id=3,
            eos_piece="[EOS]",
            user_defined_symbols=["[SEP]", "[CLS]", "[MASK]"],
            num_threads=1,  # the number of threads is written into the model
            minloglevel=2,
        )
    except RuntimeError as error:
        raise ModelError(_why_sentencepiece_failed(str(error), vocab_size)) from error
    tokenizer = sentencepiece_tokenizer(model.getvalue())
    _save(tokenizer, folder, {SENTENCEPIECE_FILE: model.getvalue()})
    return tokenizer


def _why_sentencepiece_failed(error: str, vocab_size: int) -> str:
    if found := re.search(r"value <= (\d+)", error):
        return _too_little_text(int(found[1]) - len(SENTENCEPIECE_SPECIAL), vocab_size)
    if found := re.search(r"required_chars\. \d+ vs (\d+)", error):
        return _too_many_characters(int(found[1]) - len(SENTENCEPIECE_SPECIAL), vocab_size)
    if "sentences_.empty()" in error or "(all_chars_count) > (0)" in error:
        return "there is no text to train a vocabulary on"
    return f"SentencePiece could not train a vocabulary: {error}"


def _too_little_text(pieces: int, vocab_size: int) -> str:
    return f"the text has only {pieces} pieces, not {vocab_size}: give more text, or vocab_size {pieces}"


def _too_many_characters(pieces: int, vocab_size: int) -> str:
    return f"the characters of the text alone are {pieces} pieces, more than vocab_size {vocab_size}: give a larger one"


def sentencepiece_tokenizer(model: bytes, lower_case: bool = False) -> PreTrainedTokenizerFast:
    """The native tokenizer for a SentencePiece BPE model with the seven special pieces. model: the file's content.

    lower_case: lower-cases texts before the model's own rules, as the Korean SpanBERT did with its `kowiki.model`.
    Raises ModelError where `model` is anything else.
    """
    from transformers.convert_slow_tokenizer import import_protobuf

    proto = import_protobuf().ModelProto()
    try:
        proto.ParseFromString(model)
    except Exception as error:  # protobuf's DecodeError, whose module differs between its implementations
        raise ModelError(f"not a SentencePiece model: {error}") from error
    pieces = [piece.piece for piece in proto.pieces]
    if proto.trainer_spec.model_type != 2 or tuple(pieces[: len(SENTENCEPIECE_SPECIAL)]) != SENTENCEPIECE_SPECIAL:
        raise ModelError(f"not a SentencePiece BPE model that begins with {' '.join(SENTENCEPIECE_SPECIAL)}")
    ids = {piece: index for index, piece in enumerate(pieces)}
    # SentencePiece always joins the two neighbours whose piece has the smallest id, however that piece was learned.
    merges = [
        (piece[:at], piece[at:])
        for piece in pieces[len(SENTENCEPIECE_SPECIAL) :]
        for at in range(1, len(piece))
        if piece[:at] in ids and piece[at:] in ids
    ]
    tokenizer = Tokenizer(models.BPE(ids, merges, unk_token="[UNK]", fuse_unk=True))
    # Precompiled, SentencePiece's table, sees one grapheme at a time: decomposed Hangul would stay in jamo, and loose
    # jamo (ㅎㅏ), which SentencePiece joins, would stay apart. Hence NFC before and after it.
    table = normalizers.Precompiled(proto.normalizer_spec.precompiled_charsmap)
    rules = [normalizers.NFC(), table, normalizers.NFC()]
    tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *rules] if lower_case else rules)
    # No piece crosses a space, so that splitting into words changes no piece, and offsets leave the spaces out.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(" ", "removed"), pre_tokenizers.Metaspace(prepend_scheme="always", split=False)]
    )
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    return _ready_for_bert(tokenizer, SENTENCEPIECE_SPECIAL)


def train_wordpiece(
    lines: Iterable[str],
    folder: Path,
    vocab_size: int = 8000,
    lower_case: bool = False,
    max_lines: int = MAX_LINES,
    seed: int = 42,
) -> PreTrainedTokenizerFast:
    """Trains a WordPiece vocabulary with BERT's rules, of `vocab_size` pieces and the five special ones, into `folder`.

    Hangul is never split into jamo, and accents stay. Arguments and errors are those of `train_sentencepiece`.
    """
    _refuse_filled(folder)
    tokenizer = _bert_rules(None, lower_case)
    texts = [tokenizer.normalizer.normalize_str(line) for line in _drawn(lines, max_lines, seed)]
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    counts.pop(" ", None)
    if not counts:
        raise ModelError("there is no text to train a vocabulary on")
    characters = _covering(counts)
    # The trainer numbers the ##pieces in the order of a hash map, which differs from run to run, and breaks ties by
    # number. Passed first, as "special" tokens, all single characters get fixed numbers, and with them all the others.
    inside = [f"##{character}" for character in characters if _goes_on_in_words(tokenizer, character)]
    fixed = [*WORDPIECE_SPECIAL, *characters, *inside]
    if len(fixed) - len(WORDPIECE_SPECIAL) > vocab_size:
        raise ModelError(_too_many_characters(len(fixed) - len(WORDPIECE_SPECIAL), vocab_size))
    rare = {ord(character): " " for character in counts.keys() - set(characters)}
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size + len(WORDPIECE_SPECIAL), min_frequency=2, special_tokens=fixed, show_progress=False
    )
    tokenizer.train_from_iterator((_TOO_LONG.sub(" ", text.translate(rare)) for text in texts), trainer)
    vocabulary = tokenizer.get_vocab()
    if len(vocabulary) < vocab_size + len(WORDPIECE_SPECIAL):
        raise ModelError(_too_little_text(len(vocabulary) - len(WORDPIECE_SPECIAL), vocab_size))
    trained = _ready_for_bert(_bert_rules(vocabulary, lower_case), WORDPIECE_SPECIAL)
    _save(trained, folder, {})
    return trained


def _bert_rules(vocabulary: Mapping[str, int] | None, lower_case: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]") if vocabulary else models.WordPiece())
    # strip_accents would split Hangul into jamo.
    rules = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=False, lowercase=lower_case
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), rules])
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    return tokenizer


def _covering(counts: Counter[str]) -> list[str]:
    """The most frequent characters, which make up CHARACTER_COVERAGE of the text, sorted by code point."""
    wanted = CHARACTER_COVERAGE * counts.total()
    chosen, covered = [], 0
    for character, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if covered >= wanted:
            break
        chosen.append(character)
        covered += count
    return sorted(chosen)


def _goes_on_in_words(tokenizer: Tokenizer, character: str) -> bool:
    """Whether the character can continue a word; punctuation and Hanja are words by themselves."""
    text = tokenizer.normalizer.normalize_str(f"가{character}")
    return len(tokenizer.pre_tokenizer.pre_tokenize_str(text)) == 1


def _ready_for_bert(tokenizer: Tokenizer, special: tuple[str, ...]) -> PreTrainedTokenizerFast:
    """Adds the special tokens, found in texts and put around them: `[CLS] a [SEP]`, `[CLS] a [SEP] b [SEP]`."""
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in special])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[(token, special.index(token)) for token in ("[CLS]", "[SEP]")],
    )
    names = {f"{token.strip('[]').lower()}_token": token for token in special}  # "pad_token": "[PAD]"
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=MAX_LENGTH, model_input_names=INPUT_NAMES, **names
    )


def _drawn(lines: Iterable[str], most: int, seed: int) -> list[str]:
    """All lines, or `most` of them with equal probability (reservoir sampling), without the words that are too long."""
    generator = random.Random(seed)
    drawn: list[str] = []
    for number, line in enumerate(lines):
        at = number if number < most else generator.randrange(number + 1)
        if at < most:
            line = _TOO_LONG.sub(" ", line) if len(line) > LONGEST_WORD else line
            drawn[at : at + 1] = [line]
    return drawn


def check_for_masking(tokenizer, vocab_size: int | None = None) -> None:
    """Raises ModelError where a tokenizer cannot be used for training on masked text.

    vocab_size: the model's; every id must be below it. None where the model is made for the tokenizer.
    """
    ids = {name: getattr(tokenizer, f"{name}_token_id") for name in ("pad", "unk", "cls", "sep", "mask")}
    # A token that is named but not in the vocabulary has the id of [UNK].
    missing = [name for name, id in ids.items() if id is None or (name != "unk" and id == ids["unk"])]
    if missing:
        names = ", ".join(f"[{name.upper()}]" for name in missing)
        raise ModelError(f"the tokenizer has no token for {names}: masked text cannot be learned from with it")
    beyond = {id: token for token, id in tokenizer.get_vocab().items() if vocab_size is not None and id >= vocab_size}
    if beyond:
        first = min(beyond)
        raise ModelError(
            f"the tokenizer is another model's: that one has {vocab_size} tokens (vocab_size), and {beyond[first]!r} "
            f"has the id {first}"
        )


def _refuse_filled(folder: Path) -> None:
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ModelError(f"{folder} is there already: a vocabulary is trained into a new folder")


def _save(tokenizer: PreTrainedTokenizerFast, folder: Path, files: Mapping[str, bytes]) -> None:
    """Writes the folder, whole or not at all. files: what else goes into it."""
    try:
        with whole_folder(folder) as temporary:
            tokenizer.save_pretrained(temporary)
            for name, content in files.items():
                (temporary / name).write_bytes(content)
            if folder.is_dir() and any(folder.iterdir()):
                raise FileExistsError(errno.EEXIST, "made in the meantime", str(folder))
    except Exception as error:  # a full disk raises whatever the writing library raises: OSError, or Rust's own error
        # Another process may have made the folder in the meantime: the same lines give the same files, which stay.
        if isinstance(error, OSError) and error.errno in (errno.EEXIST, errno.ENOTEMPTY):
            return
        raise ModelError(f"the vocabulary could not be written to {folder}: {error}") from error
