"""KoBERT's tokenizer, which transformers cannot build by itself.

    tokenizer = build_kobert_tokenizer(Path("kobert"))              # native; what it saves, AutoTokenizer loads

It has what every native tokenizer has (`return_offsets_mapping=True`, `word_ids()`).
"""

from __future__ import annotations

import warnings
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from models.bert_tokens import INPUT_NAMES, MAX_LENGTH, SPECIAL_TOKENS, read_vocabulary


def build_kobert_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """KoBERT's tokenizer as a native `tokenizers` object.

    `folder` holds one SentencePiece unigram model (`*.model`) and `vocab.txt`, one piece a line, whose line numbers
    (from 0) are the ids. Tokens equal SentencePiece's (Kudo, arXiv:1808.06226), on which KoBERT was pretrained,
    except where two segmentations have equal scores, and where it would join loose jamo (ㅋㅑ). The additional steps
    in monologg's wrapper (accents stripped, '' turned into ", a comma cut off a digit) are left out.

    Offsets count characters of the text and leave out the space before a word. In decomposed Hangul (NFD), a token ends
    at the first jamo of its last syllable. Text outside the vocabulary is [UNK].

    Raises FileNotFoundError if a file is missing, ValueError if the two do not belong together.
    """
    proto, pieces = _read_kobert(Path(folder))
    ids = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.Unigram(_unigram_scores(proto, pieces), unk_id=ids["[UNK]"]))
    # NFC first: Precompiled sees one grapheme at a time and would leave decomposed Hangul (한) in jamo.
    steps = [normalizers.NFC()]
    if proto.normalizer_spec.precompiled_charsmap:
        steps.append(normalizers.Precompiled(proto.normalizer_spec.precompiled_charsmap))
    prefix = "always" if proto.normalizer_spec.add_dummy_prefix else "never"
    split = [pre_tokenizers.Metaspace(prepend_scheme=prefix, split=False)]
    if any("▁" in piece.lstrip("▁") for piece in pieces):  # pieces cross spaces: the text must stay whole
        steps += [normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")]
    else:  # splitting into words gives the same pieces, and offsets leave the spaces out
        split.insert(0, pre_tokenizers.Split(" ", "removed"))
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(split)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme=prefix)
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in SPECIAL_TOKENS.values()])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[(token, ids[token]) for token in ("[CLS]", "[SEP]")],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=MAX_LENGTH, model_input_names=INPUT_NAMES, **SPECIAL_TOKENS
    )


def _read_kobert(folder: Path) -> tuple:
    """The parsed SentencePiece model and the pieces in the order of their ids."""
    from transformers.convert_slow_tokenizer import import_protobuf

    found = sorted(folder.glob("*.model"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise FileNotFoundError(f"{folder}: KoBERT's tokenizer needs one SentencePiece file (*.model), found: {names}")
    vocabulary = folder / "vocab.txt"
    if not vocabulary.is_file():
        raise FileNotFoundError(f"{vocabulary}: missing; it gives the ids of the pieces in {found[0].name}")
    proto = import_protobuf().ModelProto()
    try:
        proto.ParseFromString(found[0].read_bytes())
    except Exception as error:  # protobuf's DecodeError, whose module differs between its implementations
        raise ValueError(f"{found[0]}: not a SentencePiece model ({error})") from error
    if proto.trainer_spec.model_type != 1 or not proto.pieces:
        raise ValueError(f"{found[0]}: not a SentencePiece unigram model, which is what KoBERT has")
    pieces = read_vocabulary(vocabulary)
    missing = [token for token in SPECIAL_TOKENS.values() if token not in pieces]
    if missing:
        raise ValueError(f"{vocabulary}: no line for {', '.join(missing)}")
    known = set(pieces)
    normal = {piece.piece for piece in proto.pieces if piece.type == 1}
    lost = sorted(normal - known)
    strange = sorted(known - {piece.piece for piece in proto.pieces} - set(SPECIAL_TOKENS.values()))
    if max(len(lost), len(strange)) > len(pieces) // 100:
        raise ValueError(
            f"{vocabulary} does not belong to {found[0].name}: {len(lost)} of the model's {len(normal)} pieces have no "
            f"line (such as {', '.join(lost[:3])}), {len(strange)} lines are no piece of the model"
        )
    if lost:
        warnings.warn(f"{vocabulary}: {len(lost)} pieces of the model have no id and are not used", stacklevel=3)
    return proto, pieces


def _unigram_scores(proto, pieces: list[str]) -> list[tuple[str, float]]:
    """`(piece, log probability)` in the order of the ids; pieces that no text can become score far below all others."""
    normal = {piece.piece: piece.score for piece in proto.pieces if piece.type == 1}
    # SentencePiece never splits user-defined symbols (type 4): they score as well as its best piece for each character.
    chosen = {piece.piece: len(piece.piece) * max(normal.values()) - 0.1 for piece in proto.pieces if piece.type == 4}
    for token in SPECIAL_TOKENS.values():  # added tokens: found before the model sees the text, or not at all (［CLS］)
        chosen.pop(token, None)
        normal.pop(token, None)
    never = min(normal.values()) - 1000.0
    return [(piece, normal.get(piece, chosen.get(piece, never))) for piece in pieces]
