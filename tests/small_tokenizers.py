"""Tokenizers of each kind with small vocabularies, made in milliseconds without a network.

Also Moran, HanBERT's C library: a stand-in to compile, and the real one where it is installed.
"""

import importlib.util
import itertools
import os
import platform
import random
import shutil
import subprocess
import unicodedata
from pathlib import Path

import pytest
import sentencepiece
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertTokenizer, PreTrainedTokenizerFast

SYLLABLES = "가나다라마바사아자차"
WORDS = [f"{a}{b}" for a, b in itertools.product(SYLLABLES, SYLLABLES)]


def wordpiece() -> BertTokenizer:
    """BERT: [CLS] a [SEP] b [SEP], types 0 and 1; syllables, some words, and `?` is unknown."""
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *SYLLABLES, *(f"##{s}" for s in SYLLABLES), *WORDS[::3]]
    return BertTokenizer(vocab={token: i for i, token in enumerate(tokens)}, do_lower_case=False)


def unigram(specials: dict[str, str], single: str, pair: str) -> PreTrainedTokenizerFast:
    pieces = [*specials.values(), "▁", *SYLLABLES, *(f"▁{word}" for word in WORDS[::2])]
    model = models.Unigram([(piece, -float(i)) for i, piece in enumerate(pieces)], list(specials).index("unk_token"))
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.add_special_tokens(list(specials.values()))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=single, pair=pair, special_tokens=[(token, pieces.index(token)) for token in specials.values()]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **specials)


def roberta() -> PreTrainedTokenizerFast:
    """RoBERTa and XLM-R: <s> a </s></s> b </s>, all of type 0."""
    names = {"cls_token": "<s>", "pad_token": "<pad>", "sep_token": "</s>", "unk_token": "<unk>"}
    return unigram(names, "<s> $A </s>", "<s> $A </s> </s> $B </s>")


def kobert() -> PreTrainedTokenizerFast:
    """KoBERT: [UNK] 0, [PAD] 1, [CLS] 2, [SEP] 3; types 0 and 1."""
    names = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return unigram(names, "[CLS] $A [SEP]", "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1")


SPECIAL = ["[UNK]", "[PAD]", "[CLS]", "[SEP]", "[MASK]"]


def sentences(count: int) -> list[str]:
    rng = random.Random(7)
    people = "나 너 우리 친구 학생 선생님 배우 감독 작가 아이 어머니 아버지 동생 형사 가수 기자 시민 대통령".split()
    things = "영화 책 학교 음악 '사랑' \"커피\" 노래 집 100원 3,000원 사진 거리 시간 기억 이야기 마을 바다 눈물".split()
    acts = "봤다. 읽었다! 좋아한다 ㅋㅋ 만들었다... 싫어했다; 들었다? OK! Love [UNKPADCLSEMO] 지켰다".split()
    ends = ["는", "가", "도", "와", "를", "에서", "로", "만", "의", ""]
    groups = (people, things, people, things)
    return [
        " ".join([*(rng.choice(group) + rng.choice(ends) for group in groups[: rng.randrange(1, 5)]), rng.choice(acts)])
        for _ in range(count)
    ]


def write_kobert(folder: Path, texts: list[str], pieces: int, **options) -> sentencepiece.SentencePieceProcessor:
    """A folder like monologg/kobert's: the model orders its ids by score, vocab.txt is in alphabetical order."""
    folder.mkdir(exist_ok=True)
    options = {"model_type": "unigram", "unk_id": 0, "pad_id": 1, "bos_id": -1, "eos_id": -1, **options}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_prefix=str(folder / "tokenizer_test"),
        vocab_size=pieces,
        unk_piece="[UNK]",
        pad_piece="[PAD]",
        control_symbols=["[CLS]", "[SEP]", "[MASK]"],
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=2,
        **options,
    )
    (folder / "tokenizer_test.vocab").unlink()
    reference = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer_test.model"))
    own = [reference.id_to_piece(index) for index in range(len(reference))]
    lines = SPECIAL + sorted(piece for piece in own if piece not in SPECIAL)
    (folder / "vocab.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return reference


decomposed = st.sampled_from(["친구가", "학생이", "영화를", "봤다"]).map(
    lambda word: unicodedata.normalize("NFD", word)
)
fragments = st.one_of(
    st.sampled_from(
        ["나는", "영화를", " 봤다", "학교", "3,000원", "ㅋㅋ", "ㅎ", "...", "''", '"', "“", "’", "OK", "love"]
    ),
    st.sampled_from(
        [" ", "  ", "\t", "\n", "\r\n", "\u3000", "\u00a0", "\u200b", "\x00", "😀", "👨‍👩‍👧", "❤️", "♥", "㈜"]
    ),
    st.sampled_from(["ﾡ", "ﾢﾣ", "ＡＢＣ", "１２", "［CLS］", "！", "é", "中國", "日本語", "\ufeff", "\ufffd"]),
    decomposed,
    st.text(st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3), max_size=4),
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=6),
)
texts = st.lists(fragments, max_size=12).map("".join)
# What Moran does, in small: particles and tildes are split off, `했다` is rewritten, words after the 255th are
# lost, digits read leftovers of the previous text, and input that overflows the buffers aborts the process.
STAND_IN = r"""
#include <stdlib.h>
#include <string.h>
int longest_input = 0, calls = 0, opened = 0;
static char stale[1024] = "";
int MorAn16_open_dbs(void) { opened++; return STATUS; }
static void put(char *out, const char *joiner, const char *from, size_t length) {
    if (*out) strcat(out, " ");
    strcat(out, joiner);
    strncat(out, from, length);
}
char *Moran4dnlp(char *in, char *out, int size) {
    int length = strlen(in), words = 0;
    if (length >= 102400 || size != 102400) abort();
    if (length > longest_input) longest_input = length;
    calls++;
    *out = 0;
    for (char *word = in; *word && words < 255;) {
        size_t n = *word == '~' ? 1 : strcspn(word, " ");
        if (n > 3 && !strncmp(word + n - 3, "를", 3)) {
            put(out, "", word, n - 3);
            put(out, "~~", "를", 3);
        } else if (n == 6 && !strncmp(word, "했다", 6)) {
            put(out, "", "하", 3); put(out, "~~", "았", 3); put(out, "~~", "다", 3);
        } else if (n == 4 && !strncmp(word, "2가", 4)) {
            put(out, "", "2", 1);
            put(out, "~", strlen(stale) > 200 ? "가" : "나", 3);
        } else if (n) put(out, "", word, n);
        words += n > 0;
        word += n + (word[n] == ' ');
    }
    strncpy(stale, in, 1000);
    return out;
}
"""
VOCABULARY = (
    "[PAD] [EOS] [UNK] [CLS] [SEP] [MASK] 나 친구 ~~를 ~~다 하 ~~았 . ##는 2 ~가 가 ##가 中 abc ##d ~~ ##바 ~".split()
)


def compile_stand_in(folder: Path, status: int = 0) -> Path:
    if shutil.which("gcc") is None:
        pytest.skip("no gcc to compile Moran's stand-in")
    (folder / "moran.c").write_text(STAND_IN, encoding="utf-8")
    library = folder / "libmoran4dnlp.so"
    command = ["gcc", "-shared", "-fPIC", "-O1", "-w", f"-DSTATUS={status}", "-o", library, folder / "moran.c"]
    subprocess.run(command, check=True)
    return library


def real_folder() -> Path | None:
    """The folder of the real library with its vocabulary: $HANBERT_MORAN's, or the package hanbert-tokenizer's."""
    package = importlib.util.find_spec("hanbert_tokenizer")
    roots = [Path(root) / "moran" for root in package.submodule_search_locations] if package else []
    for folder in [*([Path(os.environ["HANBERT_MORAN"])] if "HANBERT_MORAN" in os.environ else []), *roots]:
        folder = folder if folder.is_dir() else folder.parent
        if (folder / "libmoran4dnlp.so").is_file() and (folder / "vocab_54k.txt").is_file():
            return folder
    return None


REAL = real_folder() if (platform.system(), platform.machine()) == ("Linux", "x86_64") else None
needs_moran = pytest.mark.skipif(REAL is None, reason="Moran is for x86-64 Linux: pip install hanbert-tokenizer")
