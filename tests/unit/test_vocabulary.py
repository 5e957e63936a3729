"""Vocabularies trained on a corpus: SentencePiece's tokens, whole Hangul, the same bytes always, whole or not there."""

import itertools
import random
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, BertTokenizer

from models import ModelError, build_tokenizer, vocabulary
from models.vocabulary import (
    LONGEST_WORD,
    SENTENCEPIECE_FILE,
    SENTENCEPIECE_SPECIAL,
    WORDPIECE_SPECIAL,
    check_for_masking,
    sentencepiece_tokenizer,
    train_sentencepiece,
    train_wordpiece,
)
from processors.pretraining.corpus import word_starts
from processors.pretraining.corpus_readers import open_corpus

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
WORDS = [
    "영화",
    "정말",
    "재미있다",
    "재미없다",
    "배우",
    "연기",
    "최고",
    "ㅋㅋㅋ",
    "ㅠㅠ",
    "The",
    "movie",
    "2020년",
    "좋았다.",
]
TRAINERS = {"sentencepiece": train_sentencepiece, "wordpiece": train_wordpiece}
# What SentencePiece normalises (full width, ligatures, loose jamo, several spaces), and what it does not know.
AWKWARD = (
    "",
    " ",
    "  영화   정말  ",
    "영화\t정말\u3000배우\xa0최고",
    "Ｔｈｅ ＭＯＶＩＥ １２…～",
    "ㅋㅋㅋ ㅎㅏㄴㄱㅡㄹ ㅠㅠ",
    unicodedata.normalize("NFD", "재미있다 영화"),
    "뷁 영화뷁영화 😀😀 漢字",
    "영화\u200b정말 \u00ad최고",
    "ﬁne ㎏ ① İstanbul ΣΑΣ ß",
    "▁영화 영화▁정말",
    "영화!!!,,,정말",
    "가" * 300,
)


def lines(count: int = 400, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.randint(1, 8))) for _ in range(count)]


@pytest.fixture(scope="module", params=[False, True], ids=["cased", "lower-cased"])
def trained(request, tmp_path_factory) -> tuple[bool, Path]:
    folder = tmp_path_factory.mktemp("vocabulary") / "new" / "folder"
    train_sentencepiece(iter(lines()), folder, 60, lower_case=request.param)
    return request.param, folder


def ids(tokenizer, texts: list[str]) -> list[list[int]]:
    return tokenizer(texts, add_special_tokens=False)["input_ids"]


# --------------------------------------------------------------------------------------------------------------------
# SentencePiece
# --------------------------------------------------------------------------------------------------------------------


def test_special_pieces_and_their_ids(trained):
    tokenizer = AutoTokenizer.from_pretrained(trained[1])
    assert len(tokenizer) == 60 + 7
    assert tokenizer.convert_ids_to_tokens(range(7)) == list(SENTENCEPIECE_SPECIAL)
    names = ("pad", "unk", "bos", "eos", "sep", "cls", "mask")
    assert [getattr(tokenizer, f"{name}_token_id") for name in names] == list(range(7))
    pair = tokenizer("영화", "정말")
    left, right = ids(tokenizer, ["영화", "정말"])
    assert pair["input_ids"] == [5, *left, 4, *right, 4]
    assert pair["token_type_ids"] == [0] * (len(left) + 2) + [1] * (len(right) + 1)
    assert tokenizer("영화 [MASK] 정말")["input_ids"] == [5, *left, 6, *right, 4]


def test_tokens_are_those_of_sentencepiece(trained):
    tokenizer = AutoTokenizer.from_pretrained(trained[1])
    reference = sentencepiece.SentencePieceProcessor(model_file=str(trained[1] / SENTENCEPIECE_FILE))
    texts = [*lines(200, seed=1), *AWKWARD, *("".join(words) for words in itertools.permutations(WORDS[:6], 3))]
    assert ids(tokenizer, texts) == reference.encode(texts)
    assert [tokenizer.convert_ids_to_tokens(i) for i in range(len(tokenizer))] == [
        reference.id_to_piece(i) for i in range(reference.get_piece_size())
    ]


CHARACTERS = st.sampled_from("영화정말재미 있없다ㅋㅠTheMov20.…～Ａ①뷁😀\u200b\t▁\u3000")


@settings(max_examples=300, deadline=None)
@given(text=st.text(CHARACTERS, max_size=30))
def test_tokens_of_any_text_are_those_of_sentencepiece(trained, text: str):
    tokenizer, reference = _loaded(trained[1])
    assert ids(tokenizer, [text]) == [reference.encode(text)]


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.characters(blacklist_categories=["Cs"]), max_size=20))
def test_any_text_has_tokens_and_offsets(trained, text: str):
    tokenizer, _ = _loaded(trained[1])
    encoded = tokenizer(text, return_offsets_mapping=True)
    assert all(0 <= start <= end <= len(text) for start, end in encoded["offset_mapping"])


_LOADED: dict[Path, tuple] = {}


def _loaded(folder: Path) -> tuple:
    if folder not in _LOADED:
        reference = sentencepiece.SentencePieceProcessor(model_file=str(folder / SENTENCEPIECE_FILE))
        _LOADED[folder] = (AutoTokenizer.from_pretrained(folder), reference)
    return _LOADED[folder]


def test_lower_casing_is_the_tokenizers(trained):
    lower_case, folder = trained
    upper, lower = ids(AutoTokenizer.from_pretrained(folder), ["The MOVIE 영화", "the movie 영화"])
    assert (upper == lower) is lower_case


def test_a_models_file_can_be_made_to_lower_case(trained, tmp_path: Path):
    """As the Korean SpanBERT used its model, which keeps case by itself."""
    model = (trained[1] / SENTENCEPIECE_FILE).read_bytes()
    sentencepiece_tokenizer(model, lower_case=True).save_pretrained(tmp_path)
    upper, lower = ids(AutoTokenizer.from_pretrained(tmp_path), ["The MOVIE 영화", "the movie 영화"])
    assert upper == lower == ids(AutoTokenizer.from_pretrained(trained[1]), ["the movie 영화"])[0]


def test_words_start_at_their_mark(trained):
    tokenizer = AutoTokenizer.from_pretrained(trained[1])
    starts = word_starts(tokenizer)
    [tokens] = ids(tokenizer, ["영화 정말재미있다 배우"])
    words = tokenizer.convert_ids_to_tokens(tokens)
    assert [starts[token] for token in tokens] == [word.startswith("▁") for word in words]
    assert sum(starts[tokens]) == 3 and not starts[:7].any()


@pytest.mark.seconds
def test_it_is_read_back_the_same_everywhere(trained, tmp_path: Path):
    """By AutoTokenizer, with a model's configuration and without, from its own copy, and without sentencepiece."""
    _, folder = trained
    texts = [*lines(50, seed=2), *AWKWARD]
    expected = ids(sentencepiece_tokenizer((folder / SENTENCEPIECE_FILE).read_bytes()), texts)
    model = tmp_path / "model"
    shutil.copytree(folder, model)
    (model / "config.json").write_text('{"model_type": "bert", "vocab_size": 67}')
    AutoTokenizer.from_pretrained(model).save_pretrained(tmp_path / "copy")
    for read in (
        AutoTokenizer.from_pretrained(folder),
        build_tokenizer(None, model),
        build_tokenizer(None, tmp_path / "copy"),
    ):
        assert ids(read, texts) == expected
        assert read.model_max_length == 512 and read.is_fast
    code = (
        "import sys; sys.modules['sentencepiece'] = None\n"
        "from transformers import AutoTokenizer\n"
        "print(AutoTokenizer.from_pretrained(sys.argv[1])('영화 정말')['input_ids'])"
    )
    command = [sys.executable, "-c", code, str(folder)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert out.strip() == str([5, *ids(AutoTokenizer.from_pretrained(folder), ["영화 정말"])[0], 4])


def test_other_models_are_refused(tmp_path: Path):
    with pytest.raises(ModelError, match="not a SentencePiece model"):
        sentencepiece_tokenizer(b"no model")
    for options in ({"model_type": "unigram"}, {"model_type": "bpe"}):
        path = tmp_path / "other"
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines()), model_prefix=str(path), vocab_size=40, minloglevel=2, **options
        )
        with pytest.raises(ModelError, match=r"not a SentencePiece BPE model that begins with \[PAD\] \[UNK\] \[BOS\]"):
            sentencepiece_tokenizer(path.with_suffix(".model").read_bytes())


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "corpus").is_dir(), reason="../shared/data is not there")
@pytest.mark.parametrize("lower_case", [False, True])
def test_real_text_has_the_tokens_of_sentencepiece(lower_case: bool, tmp_path: Path):
    """As the original: 8,000 pieces. The two of 150,000 reviews that differ have a loose final behind a syllable."""
    corpus = open_corpus([DATA / "corpus", DATA / "nsmc_corpus"])
    tokenizer = train_sentencepiece(corpus.lines(), tmp_path / "new", 8000, lower_case)
    reference = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "new" / SENTENCEPIECE_FILE))
    rows = (DATA / "nsmc" / "ratings_train.txt").read_text(encoding="utf-8").split("\n")[1:-1]
    reviews = [row.split("\t")[1] for row in rows]
    encoded = tokenizer.backend_tokenizer.encode_batch_fast(reviews, add_special_tokens=False)
    pairs = zip(reviews, encoded, reference.encode(reviews), strict=True)
    different = [review for review, ours, theirs in pairs if ours.ids != theirs]
    assert len(different) <= 2 and len(reviews) == 150_000, different


# --------------------------------------------------------------------------------------------------------------------
# WordPiece
# --------------------------------------------------------------------------------------------------------------------


def test_wordpiece(tmp_path: Path):
    texts = [*lines(), "漢字 漢字 é É" * 9, unicodedata.normalize("NFD", "재미있다")]
    tokenizer = train_wordpiece(iter(texts), tmp_path / "new", 90)
    read = AutoTokenizer.from_pretrained(tmp_path / "new")
    assert len(read) == 90 + 5 and read.convert_ids_to_tokens(range(5)) == list(WORDPIECE_SPECIAL)
    assert read.tokenize("영화 재미있다 The 漢字.") == ["영화", "재미있다", "The", "漢", "字", "."]
    assert "##漢" not in read.get_vocab() and "##." not in read.get_vocab()
    assert read.tokenize(unicodedata.normalize("NFD", "영화 é")) == ["영화", "é"]
    assert read("영화", "배우")["token_type_ids"] == [0, 0, 0, 1, 1]
    assert ids(read, texts) == ids(tokenizer, texts)
    lowered = train_wordpiece(iter(texts), tmp_path / "lower", 80, lower_case=True)
    assert lowered.tokenize("THE É") == ["the", "é"]


def test_the_rarest_characters_are_unknown(tmp_path: Path):
    texts = [*lines(2000), "뷁"]
    for name, train in TRAINERS.items():
        tokenizer = train(iter(texts), tmp_path / name, SIZES[name])
        assert tokenizer.unk_token_id in ids(tokenizer, ["뷁"])[0], name
        assert all(tokenizer.unk_token_id not in row for row in ids(tokenizer, lines(50))), name


# --------------------------------------------------------------------------------------------------------------------
# Both
# --------------------------------------------------------------------------------------------------------------------

SIZES = {"sentencepiece": 60, "wordpiece": 80}


@pytest.fixture(params=TRAINERS)
def train(request) -> Callable:
    """Trains a vocabulary of a size that the lines above have."""

    def run(texts, folder: Path, vocab_size: int = SIZES[request.param], **options):
        return TRAINERS[request.param](iter(texts), folder, vocab_size, **options)

    return run


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def made_elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of every trainer, made by another process, whose hash maps have another order."""
    folder = tmp_path_factory.mktemp("there")
    code = (
        "import sys; from pathlib import Path; sys.path[:0] = sys.argv[1:3]\n"
        "from test_vocabulary import *\n"
        "for name, run in TRAINERS.items(): run(iter(lines()), Path(sys.argv[3]) / name, SIZES[name])"
    )
    arguments = [str(ROOT), str(ROOT / "tests" / "unit"), str(folder)]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True)
    return folder


@pytest.mark.seconds
def test_the_same_lines_give_the_same_bytes(train, made_elsewhere: Path, tmp_path: Path, request):
    train(lines(), tmp_path / "here")
    assert files(tmp_path / "here") == files(made_elsewhere / request.node.callspec.params["train"])


def test_lines_are_drawn_from_many(train, tmp_path: Path, monkeypatch):
    texts = lines(3000)
    drawn = []
    draw = vocabulary._drawn

    def note(*arguments) -> list[str]:
        drawn.append(draw(*arguments))
        return drawn[-1]

    monkeypatch.setattr(vocabulary, "_drawn", note)
    for folder, options in (("a", {}), ("b", {}), ("c", {"seed": 1})):
        train(texts, tmp_path / folder, max_lines=500, **options)
    train(texts, tmp_path / "all")
    assert [len(some) for some in drawn] == [500, 500, 500, 3000] and drawn[3] == texts
    assert drawn[0] == drawn[1] != drawn[2] and files(tmp_path / "a") == files(tmp_path / "b")
    places = [texts.index(line) for line in drawn[0]]
    assert len({place // 300 for place in places}) == 10  # from everywhere


def test_words_that_are_too_long_are_left_out(train, tmp_path: Path):
    giants = ["영" * 70_000, "배우 " + "x" * (LONGEST_WORD + 1) + " 연기"]
    tokenizer = train([*lines(), *giants], tmp_path / "new")
    plain = train([*lines(), "배우  연기"], tmp_path / "plain")
    assert tokenizer.get_vocab() == plain.get_vocab()


def test_too_little_text(train, tmp_path: Path):
    with pytest.raises(
        ModelError, match=r"^the text has only \d+ pieces, not 5000: give more text, or vocab_size \d+$"
    ) as e:
        train(lines(), tmp_path / "new", 5000)
    possible = int(str(e.value).split()[-1])
    assert not list(tmp_path.iterdir())
    special = len(train(lines(), tmp_path / "new", possible)) - possible
    assert special in (len(SENTENCEPIECE_SPECIAL), len(WORDPIECE_SPECIAL))


def test_more_characters_than_pieces(train, tmp_path: Path):
    message = r"^the characters of the text alone are (\d+) pieces, more than vocab_size 5: give a larger one$"
    with pytest.raises(ModelError, match=message):
        train(lines(), tmp_path / "new", 5)
    for nothing in ([], ["", " "], ["x" * 999]):
        with pytest.raises(ModelError, match="there is no text to train a vocabulary on"):
            train(nothing, tmp_path / "new")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_holds_something(train, tmp_path: Path):
    (tmp_path / "file").write_text("")
    (tmp_path / "filled").mkdir()
    (tmp_path / "filled" / "x").write_text("")
    (tmp_path / "empty").mkdir()
    for name in ("file", "filled"):
        with pytest.raises(ModelError, match=f"{name} is there already: a vocabulary is trained into a new folder"):
            train(lines(), tmp_path / name)
    train(lines(), tmp_path / "empty")


def test_a_full_disk(train, tmp_path: Path, monkeypatch):
    def full(*_) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ModelError, match=r"the vocabulary could not be written to .*new: .*No space left on device"):
        train(lines(), tmp_path / "new")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("train", TRAINERS.values(), ids=TRAINERS)
def test_one_that_another_process_made_in_the_meantime_stays(train, tmp_path: Path):
    def slow_lines():
        yield from lines()
        train(lines(), tmp_path / "made", 60)

    tokenizer = train(slow_lines(), tmp_path / "made", 60)
    again = AutoTokenizer.from_pretrained(tmp_path / "made")
    assert again.get_vocab() == tokenizer.get_vocab() and [path.name for path in tmp_path.iterdir()] == ["made"]


def test_check_for_masking():
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "가"]
    tokenizer = BertTokenizer(vocab={token: i for i, token in enumerate(tokens)})
    check_for_masking(tokenizer)
    check_for_masking(tokenizer, 6)
    with pytest.raises(
        ModelError, match=r"another model's: that one has 5 tokens \(vocab_size\), and '가' has the id 5"
    ):
        check_for_masking(tokenizer, 5)
    tokenizer.mask_token = None
    with pytest.raises(
        ModelError, match=r"the tokenizer has no token for \[MASK\]: masked text cannot be learned from"
    ):
        check_for_masking(tokenizer)
