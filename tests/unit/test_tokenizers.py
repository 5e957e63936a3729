"""KoBERT's tokenizer against SentencePiece itself; HanBERT's against Moran, or a small C library in its place."""

import ctypes
import json
import os
import pickle
import platform
import random
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import unicodedata
from multiprocessing import get_context
from pathlib import Path

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from models import ModelError, build_tokenizer
from models import hanbert as hanbert_module
from models.hanbert import HanBertTokenizer, analyse, build_hanbert_tokenizer, find_moran
from models.kobert import build_kobert_tokenizer
from small_tokenizers import REAL, SPECIAL, VOCABULARY, compile_stand_in, needs_moran, sentences, texts, write_kobert

ROOT = Path(__file__).parents[2]
NSMC = ROOT.parent / "shared" / "data" / "nsmc"

pytestmark = pytest.mark.filterwarnings("ignore:Moran's dictionary")


# --------------------------------------------------------------------------------------------------------------------
# KoBERT
# --------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def kobert_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("kobert")
    write_kobert(folder, sentences(2000), 400)
    return folder


@pytest.fixture(scope="session")
def kobert(kobert_folder):
    reference = sentencepiece.SentencePieceProcessor(model_file=str(kobert_folder / "tokenizer_test.model"))
    return build_kobert_tokenizer(kobert_folder), reference


def reference_ids(reference, lines: list[str], text: str) -> list[int]:
    numbers = {piece: index for index, piece in enumerate(lines)}
    return [numbers.get(piece, 0) for piece in reference.encode(text, out_type=str)]


def same_but_for_ties(tokenizer, reference, text: str) -> bool:
    """Equal ids, or another segmentation of the same text that is exactly as probable."""
    lines = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    expected = reference_ids(reference, lines, text)
    if ids == expected:
        return True
    own, theirs = ([lines[i] for i in numbers] for numbers in (ids, expected))
    if "".join(own) != "".join(theirs):
        return False
    score = [sum(reference.get_score(reference.piece_to_id(piece)) for piece in side) for side in (own, theirs)]
    return abs(score[0] - score[1]) < 1e-3


@settings(max_examples=300, deadline=None)
@given(text=texts)
def test_kobert_gives_the_ids_of_sentencepiece(kobert, text):
    if not any(token in text for token in SPECIAL):  # which are found before SentencePiece would see them
        assert same_but_for_ties(*kobert, text)


@settings(max_examples=300, deadline=None)
@given(text=texts)
def test_kobert_offsets_slice_each_token_out_of_the_text(kobert, text):
    tokenizer, reference = kobert
    encoding = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    before = 0
    for token, (start, end) in zip(encoding.tokens(), encoding["offset_mapping"], strict=True):
        while end < len(text) and (unicodedata.combining(text[end]) or "\u1160" <= text[end] <= "\u11ff"):
            end += 1  # `tokenizers` lets a composed character end with the first of those it was composed of
        surface = text[start:end]
        assert 0 <= start <= end <= len(text) and start >= before
        assert surface == surface.strip(" ")
        if token not in SPECIAL:
            # A token is all of its slice, or one of several made of one character (㈜ is "(", "주", ")").
            composed = unicodedata.normalize("NFC", surface)
            normal = reference.normalize(composed).replace("▁", "")
            wanted = reference.normalize(token).replace("▁", "")
            assert wanted == normal or (len(composed) == 1 and wanted in normal)
        before = start
    covered = {index for start, end in encoding["offset_mapping"] for index in range(start, end)}
    assert all(index in covered for index, character in enumerate(text) if "가" <= character <= "힣")


@pytest.mark.seconds
@pytest.mark.skipif(not NSMC.is_dir(), reason="no ../shared/data/nsmc")
def test_kobert_equals_sentencepiece_on_reviews(tmp_path):
    def reviews(name: str, count: int) -> list[str]:
        lines = (NSMC / name).read_text(encoding="utf-8").split("\n")[1 : count + 1]
        return [line.split("\t")[1] for line in lines]

    reference = write_kobert(tmp_path / "nsmc", reviews("ratings_train.txt", 10_000), 3000)
    tokenizer = build_kobert_tokenizer(tmp_path / "nsmc")
    lines = (tmp_path / "nsmc" / "vocab.txt").read_text(encoding="utf-8").split("\n")
    rows = reviews("ratings_test.txt", 4000)
    ids = tokenizer(rows, add_special_tokens=False)["input_ids"]
    equal = sum(own == reference_ids(reference, lines, row) for own, row in zip(ids, rows, strict=True))
    assert equal >= 0.99 * len(rows)
    decomposed_rows = [unicodedata.normalize("NFD", row) for row in rows]
    again = tokenizer(decomposed_rows, add_special_tokens=False)["input_ids"]
    assert sum(a == b for a, b in zip(ids, again, strict=True)) >= 0.99 * len(rows)


def test_kobert_template_types_and_masks(kobert):
    tokenizer, _ = kobert
    names = ("unk", "pad", "cls", "sep", "mask")
    assert [getattr(tokenizer, f"{name}_token_id") for name in names] == [0, 1, 2, 3, 4]
    first, second = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("나는 영화를", "봤다."))
    pair = tokenizer("나는 영화를", "봤다.", return_special_tokens_mask=True)
    assert pair["input_ids"] == [2, *first, 3, *second, 3]
    assert pair["token_type_ids"] == [0] * (len(first) + 2) + [1] * (len(second) + 1)
    assert pair["special_tokens_mask"] == [1, *[0] * len(first), 1, *[0] * len(second), 1]
    assert tokenizer("")["input_ids"] == tokenizer(" \t\n\u3000")["input_ids"] == [2, 3]
    assert 4 in tokenizer("나는 [MASK] 봤다")["input_ids"]
    assert tokenizer("😀😀 나는", add_special_tokens=False)["input_ids"].count(0) == 1  # one run, as in SentencePiece


def test_kobert_text_comes_back(kobert):
    tokenizer, _ = kobert
    for text in sentences(50):
        if "ㅋ" not in text:  # NFKC makes it another jamo
            assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text


def test_kobert_keeps_case_and_full_width_brackets_are_no_special_token(kobert):
    tokenizer, _ = kobert
    tokens = tokenizer.tokenize("Love love [CLS] ［CLS］")
    assert "".join(tokens).startswith("▁Love▁love")
    ids = tokenizer("［CLS］ [CLS]", add_special_tokens=False)["input_ids"]
    assert ids.count(2) == 1


def test_kobert_words_align(kobert):
    tokenizer, _ = kobert
    words = ["나는", "3,000원을", "😀", "봤다."]
    encoding = tokenizer(words, is_split_into_words=True, add_special_tokens=False)
    assert encoding["input_ids"] == tokenizer(" ".join(words), add_special_tokens=False)["input_ids"]
    assert sorted(set(encoding.word_ids())) == [0, 1, 2, 3]
    assert encoding.word_ids() == tokenizer(" ".join(words), add_special_tokens=False).word_ids()


@pytest.mark.parametrize("model_type", ["bert", "distilbert", None])
def test_kobert_saved_is_loaded_by_auto_tokenizer(kobert, tmp_path, model_type):
    tokenizer, _ = kobert
    tokenizer.save_pretrained(tmp_path)
    if model_type:  # as in a checkpoint: the type must not lead AutoTokenizer to another tokenizer
        (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    loaded = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    rows = [*sentences(100), "", "😀 ﾡ \t ＡＢ", unicodedata.normalize("NFD", "한글")]
    assert loaded(rows, rows).data == tokenizer(rows, rows).data
    assert len(loaded) == len(tokenizer) and loaded.pad_token_id == 1 and loaded.mask_token == "[MASK]"


def test_kobert_needs_no_sentencepiece(kobert, kobert_folder):
    code = (
        "import sys; sys.modules['sentencepiece'] = None\n"
        "from pathlib import Path; from models.kobert import build_kobert_tokenizer\n"
        f"print(build_kobert_tokenizer(Path({str(kobert_folder)!r}))('나는 영화를 봤다.')['input_ids'])"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.stdout.strip() == str(kobert[0]("나는 영화를 봤다.")["input_ids"]), run.stderr


def test_kobert_pieces_that_cross_spaces(tmp_path):
    reference = write_kobert(tmp_path / "k", sentences(2000), 200, split_by_whitespace=False)
    tokenizer = build_kobert_tokenizer(tmp_path / "k")
    assert any("▁" in token[1:] for token in tokenizer.get_vocab())
    assert all(same_but_for_ties(tokenizer, reference, f"  {text}  a ") for text in sentences(200))


def copy(folder: Path, target: Path) -> Path:
    shutil.copytree(folder, target)
    return target


def test_kobert_files_that_are_missing_or_do_not_belong_together(kobert_folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"needs one SentencePiece file \(\*\.model\), found: none"):
        build_kobert_tokenizer(tmp_path)
    two = copy(kobert_folder, tmp_path / "two")
    shutil.copy(two / "tokenizer_test.model", two / "other.model")
    with pytest.raises(FileNotFoundError, match=r"found: other\.model, tokenizer_test\.model"):
        build_kobert_tokenizer(two)
    bare = copy(kobert_folder, tmp_path / "bare")
    (bare / "vocab.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"vocab\.txt: missing"):
        build_kobert_tokenizer(bare)
    (bare / "vocab.txt").write_text("[UNK]\n[PAD]\n[CLS]\n나\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"no line for \[SEP\], \[MASK\]"):
        build_kobert_tokenizer(bare)
    (bare / "vocab.txt").write_text("\n".join([*SPECIAL, "가", "나", "다"]), encoding="utf-8")
    with pytest.raises(ValueError, match=r"does not belong to tokenizer_test\.model: \d+ of the model's \d+ pieces"):
        build_kobert_tokenizer(bare)
    (bare / "tokenizer_test.model").write_bytes(b"<html>not found</html>")
    with pytest.raises(ValueError, match="not a SentencePiece"):
        build_kobert_tokenizer(bare)
    write_kobert(tmp_path / "bpe", sentences(200), 150, model_type="bpe")
    with pytest.raises(ValueError, match="not a SentencePiece unigram model"):
        build_kobert_tokenizer(tmp_path / "bpe")


def test_kobert_bears_a_vocabulary_with_small_faults(kobert, kobert_folder, tmp_path):
    folder = copy(kobert_folder, tmp_path / "k")
    lines = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")
    lost = lines.index("▁봤다") if "▁봤다" in lines else len(lines) - 5
    lines[lost] = ""
    (folder / "vocab.txt").write_text("\n".join(lines), encoding="utf-8")
    with pytest.warns(UserWarning, match="1 pieces of the model have no id"):
        tokenizer = build_kobert_tokenizer(folder)
    assert len(tokenizer) == len(kobert[0])
    assert all(lost not in tokenizer(text)["input_ids"] for text in sentences(200))


# --------------------------------------------------------------------------------------------------------------------
# HanBERT
# --------------------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    monkeypatch.delenv("HANBERT_MORAN", raising=False)


def build(folder: Path) -> HanBertTokenizer:
    """With the library in the folder."""
    return build_hanbert_tokenizer(folder, folder)


@pytest.fixture(scope="session")
def stand_in_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("HanBert-54kN")
    compile_stand_in(folder)
    (folder / "vocab_54k.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    (folder / "config.json").write_text('{"model_type": "bert"}')
    return folder


@pytest.fixture
def stand_in(stand_in_folder):
    return build(stand_in_folder)


@pytest.fixture(params=["stand-in", pytest.param("moran", marks=needs_moran)])
def hanbert(request, stand_in_folder):
    return build(stand_in_folder if request.param == "stand-in" else REAL)


def ids_of(*tokens: str) -> list[int]:
    return [VOCABULARY.index(token) for token in tokens]


def test_hanbert_tokens_ids_types_and_masks(stand_in):
    assert len(stand_in) == stand_in.vocab_size == len(VOCABULARY)
    assert stand_in.tokenize("나는 친구를 했다 .") == ["나", "##는", "친구", "~~를", "하", "~~았", "~~다", "."]
    assert stand_in(["친구를", ""], add_special_tokens=False)["input_ids"] == [ids_of("친구", "~~를"), []]
    pair = stand_in("친구를", "나 .", return_token_type_ids=True, return_special_tokens_mask=True)
    assert pair["input_ids"] == ids_of("[CLS]", "친구", "~~를", "[SEP]", "나", ".", "[SEP]")
    assert pair["token_type_ids"] == [0, 0, 0, 0, 1, 1, 1]
    assert pair["special_tokens_mask"] == [1, 0, 0, 1, 0, 0, 1]
    assert pair["attention_mask"] == [1] * 7
    single = stand_in("나", return_special_tokens_mask=True)
    assert single["input_ids"] == ids_of("[CLS]", "나", "[SEP]") and single["special_tokens_mask"] == [1, 0, 1]
    assert stand_in.pad(stand_in(["나", "친구를"]), return_tensors="np")["input_ids"][0].tolist()[-1] == 0
    assert (stand_in.pad_token_id, stand_in.unk_token_id, stand_in.mask_token_id) == (0, 2, 5)
    assert stand_in.tokenize("2가") == ["2", "~가"]  # ~나 is what a stale buffer gives
    assert stand_in.tokenize("모름 나 [MASK]") == ["[UNK]", "나", "[MASK]"]
    assert stand_in.convert_ids_to_tokens([7, 8]) == ["친구", "~~를"]
    assert stand_in.decode(ids_of("나", "##는", "친구", "~~를", "~", "2", "~가", ".")) == "나는 친구를 ~ 2가 ."


def test_hanbert_offsets(stand_in):
    text = " 친구를 😀 [MASK]\t했다 中abcd 모름"
    tokens, offsets = stand_in.tokenize_with_offsets(text)
    assert tokens == ["친구", "~~를", "[MASK]", "하", "~~았", "~~다", "中", "abc", "##d", "[UNK]"]
    slices = ["친구", "를", "[MASK]", "했", "했", "다", "中", "abc", "d", "모름"]  # 했 is both: 하 and 았
    assert [text[start:end] for start, end in offsets] == slices
    assert tokens == stand_in.tokenize(text)
    decomposed_text = unicodedata.normalize("NFD", "친구를")
    tokens, offsets = stand_in.tokenize_with_offsets(decomposed_text)
    assert tokens == ["친구", "~~를"] and offsets == [(0, 5), (5, 8)]
    assert stand_in.tokenize_with_offsets("") == ([], [])


def test_hanbert_loses_nothing_of_a_long_text(stand_in, stand_in_folder):
    library = ctypes.CDLL(str(stand_in_folder / "libmoran4dnlp.so"))
    assert stand_in.tokenize("친구를 나 " * 30_000) == ["친구", "~~를", "나"] * 30_000
    sentence = "나는 친구를 . "
    tokens, offsets = stand_in.tokenize_with_offsets(sentence * 1000)
    assert tokens == ["나", "##는", "친구", "~~를", "."] * 1000
    assert offsets[-1] == (len(sentence) * 1000 - 2, len(sentence) * 1000 - 1)
    assert stand_in._tokenize("가" * 250_000) == ["[UNK]"] * 250  # one word, longer than the buffer
    longest = ctypes.c_int.in_dll(library, "longest_input").value
    assert 1000 < longest < hanbert_module.BUFFER_BYTES


def test_moran_refuses_what_its_buffer_cannot_hold(stand_in_folder):
    library = stand_in_folder / "libmoran4dnlp.so"
    assert analyse(library, "가" * 34_133) == ["가" * 34_133]  # 102,399 bytes and the closing NUL
    for text in ("가" * 34_134, "a" * 102_400, "나\0나"):
        with pytest.raises(ValueError, match="less than 102400 bytes without NULs"):
            analyse(library, text)


def test_tokens_do_not_depend_on_earlier_texts(hanbert):
    rng = random.Random(3)
    rows = ["2가", "시즌2가 좋다", "개씨1발", "영화ㅠㅠ ost도", "나b 라a마.는마에서1에마마"]
    rows += ["".join(rng.choice("가나다는을abc019.!? 년일&") for _ in range(40)) for _ in range(200)]
    before = [hanbert.tokenize(row) for row in rows]
    order = list(range(len(rows)))
    for _ in range(3):
        rng.shuffle(order)
        assert all(hanbert.tokenize(rows[index]) == before[index] for index in order)


awkward = st.one_of(
    st.text(max_size=40),
    st.text(st.characters(exclude_categories=()), max_size=40),  # lone surrogates, too
    st.text("가나를는했다2ab.,!?~^♥♡★…“”《》中ㅋㅠ １Ａ\t\n\x00\u200b\ud800😀ᆫᄀ﷽", max_size=150),
    texts,
)


@pytest.fixture(scope="module", params=["stand-in", pytest.param("moran", marks=needs_moran)])
def shared_hanbert(request, stand_in_folder):
    return build(stand_in_folder if request.param == "stand-in" else REAL)


@settings(max_examples=300, deadline=None)
@given(text=awkward)
def test_hanbert_bears_any_text(shared_hanbert, text):
    tokens, offsets = shared_hanbert.tokenize_with_offsets(text)
    assert tokens == shared_hanbert.tokenize(text)
    assert len(offsets) == len(tokens) == len(shared_hanbert(text, add_special_tokens=False)["input_ids"])
    assert all(0 <= start <= end <= len(text) for start, end in offsets)
    assert offsets == sorted(offsets)
    covered = {index for start, end in offsets for index in range(start, end)}
    assert all(index in covered for index, letter in enumerate(text) if "가" <= letter <= "힣" or "!" <= letter <= "~")


@pytest.mark.seconds
def test_hanbert_in_forked_processes_threads_and_pickles(hanbert):
    rows = ["나는 친구를 만났다.", "2가", "영화를 봤다! " * 50, "ㅋㅋ 3,000원"] * 5
    expected = [hanbert.tokenize(row) for row in rows]
    with get_context("fork").Pool(2) as pool:
        assert pool.map(hanbert.tokenize, rows) == expected
    pickled = pickle.dumps(hanbert)
    copied = pickle.loads(pickled)
    assert [copied.tokenize(row) for row in rows] == expected
    assert pickle.dumps(copied) == pickle.dumps(pickle.loads(pickled))  # use leaves no trace: caches can be keyed by it
    results = {}
    threads = [
        threading.Thread(target=lambda number=number: results.update({number: [hanbert.tokenize(row) for row in rows]}))
        for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(results[number] == expected for number in range(4))


def test_moran_is_opened_once_and_survives_a_fork(stand_in, stand_in_folder):
    opened = ctypes.c_int.in_dll(ctypes.CDLL(str(stand_in.moran_library)), "opened")
    others = [build(stand_in_folder), pickle.loads(pickle.dumps(stand_in))]
    assert all(other.tokenize("나") == ["나"] for other in others) and opened.value == 1
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with hanbert_module._lock:
            entered.set()
            leave.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    entered.wait()
    if (child := os.fork()) == 0:  # while another thread is in the library
        signal.alarm(20)
        os._exit(stand_in.tokenize("친구를") != ["친구", "~~를"] or opened.value != 1)
    leave.set()
    holder.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_hanbert_saved_folder_holds_no_program(stand_in_folder, tmp_path):
    model = copy(stand_in_folder, tmp_path / "model")
    tokenizer = build(model)
    tokenizer.save_pretrained(tmp_path / "checkpoint")
    tokenizer.save_pretrained(model)  # onto itself
    shutil.rmtree(model)
    names = {path.name for path in (tmp_path / "checkpoint").iterdir()}
    assert names == {"vocab_54k.txt", "tokenizer_config.json"}
    loaded = build_tokenizer(None, tmp_path / "checkpoint", stand_in_folder)
    assert loaded("나는", "친구를").data == tokenizer("나는", "친구를").data
    assert len(loaded) == len(VOCABULARY)
    settings_file = json.loads((tmp_path / "checkpoint" / "tokenizer_config.json").read_text())
    assert settings_file["tokenizer_class"] == "HanBertTokenizer"
    assert str(tmp_path) not in json.dumps(settings_file)


def test_moran_is_looked_for_in_order(stand_in_folder, tmp_path, monkeypatch):
    library = stand_in_folder / "libmoran4dnlp.so"
    package = tmp_path / "site" / "hanbert_tokenizer"
    (package / "moran").mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('its own code is not to be run')")
    shutil.copy(library, package / "moran")
    monkeypatch.syspath_prepend(package.parent)
    bare = tmp_path / "bare"
    bare.mkdir()
    assert find_moran() == find_moran(None, stand_in_folder) == package / "moran" / library.name
    monkeypatch.setenv("HANBERT_MORAN", str(stand_in_folder))
    assert find_moran() == library
    assert find_moran(package / "moran") == package / "moran" / library.name
    monkeypatch.setenv("HANBERT_MORAN", str(library))
    assert find_moran(None, bare) == library
    assert find_moran(package / "moran" / library.name) == package / "moran" / library.name
    monkeypatch.setenv("HANBERT_MORAN", str(bare))
    with pytest.raises(ModelError, match=f"HANBERT_MORAN={bare}: no such file, nor a folder with libmoran4dnlp.so"):
        find_moran(None, stand_in_folder)
    with pytest.raises(ModelError, match=f"--hanbert_library {bare}: no such file, nor a folder with libmoran4dnlp.so"):
        find_moran(bare)
    monkeypatch.chdir(stand_in_folder)  # a bare name would be searched for in the system's folders
    assert find_moran(Path()) == find_moran(Path(library.name)) == library


def test_hanbert_says_what_is_missing(stand_in_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(hanbert_module, "PACKAGE", "no_such_package_of_moran")
    (tmp_path / "vocab_54k.txt").write_text("\n".join(VOCABULARY), encoding="utf-8")
    with pytest.raises(ModelError) as missing:
        build_hanbert_tokenizer(tmp_path)
    assert "--hanbert_library" not in str(missing.value)
    for part in ("libmoran4dnlp.so", "pip install hanbert-tokenizer", "HANBERT_MORAN", "not installed"):
        assert part in str(missing.value)
    assert "\n" not in str(missing.value)
    library = tmp_path / "libmoran4dnlp.so"
    library.write_bytes(b"\x7fELF for another machine")
    with pytest.raises(ValueError, match=rf"{library}: .*x86-64 Linux\) does not load on {platform.system()}"):
        build(tmp_path)
    with pytest.raises(ValueError, match="vocabulary is missing"):
        HanBertTokenizer(str(tmp_path / "nowhere.txt"))
    shutil.copy(stand_in_folder / "libmoran4dnlp.so", library)
    (tmp_path / "vocab_54k.txt").write_text("나\n너\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"no line for \[UNK\], \[PAD\]"):
        build(tmp_path)


@pytest.fixture
def trap(tmp_path, monkeypatch) -> Path:
    """A stranger's folder: HanBERT's vocabulary, BERT's, and a library that writes a file as soon as it is loaded."""
    if shutil.which("gcc") is None:
        pytest.skip("no gcc to compile a library")
    monkeypatch.setattr(hanbert_module, "PACKAGE", "no_such_package_of_moran")
    folder = tmp_path / "a stranger's"
    folder.mkdir()
    source = tmp_path / "trap.c"
    source.write_text(
        "#include <stdio.h>\n__attribute__((constructor)) static void run(void) "
        f'{{ fclose(fopen("{tmp_path / "executed"}", "w")); }}'
    )
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", folder / "libmoran4dnlp.so", source], check=True)
    for name in ("vocab_54k.txt", "vocab.txt"):
        (folder / name).write_text("\n".join(VOCABULARY), encoding="utf-8")
    (folder / "config.json").write_text('{"model_type": "bert"}')
    return folder


@pytest.mark.parametrize("model_type", [None, "hanbert", "koelectra-base", "kosplinter"])
def test_no_library_of_a_model_folder_is_loaded(model_type, trap):
    settings = {"moran_library": str(trap / "libmoran4dnlp.so"), "library": str(trap / "libmoran4dnlp.so")}
    (trap / "tokenizer_config.json").write_text(json.dumps(settings))
    if model_type in (None, "hanbert"):
        with pytest.raises(ModelError) as refused:
            build_tokenizer(model_type, trap)
        assert f"only with --hanbert_library {shlex.quote(str(trap))}," in str(refused.value)
        assert "\n" not in str(refused.value)
    else:
        assert not isinstance(build_tokenizer(model_type, trap), HanBertTokenizer)
    assert not (trap.parent / "executed").exists()


def test_a_library_that_is_named_is_loaded(trap):
    with pytest.raises(ModelError, match="does not load"):  # after it was executed, as asked
        build_tokenizer(None, trap, str(trap))
    assert (trap.parent / "executed").exists()


def test_another_library_takes_the_place_of_the_model_folders(trap, stand_in_folder, monkeypatch):
    expected = ["친구", "~~를"]
    assert build_tokenizer(None, trap, stand_in_folder).tokenize("친구를") == expected
    assert build_tokenizer("hanbert", trap, str(stand_in_folder)).tokenize("친구를") == expected
    monkeypatch.setenv("HANBERT_MORAN", str(stand_in_folder))
    tokenizer = build_tokenizer(None, trap)
    assert tokenizer.tokenize("친구를") == expected
    assert not (trap.parent / "executed").exists()


@pytest.mark.parametrize("names", ["", "x", [], [1]])
def test_damaged_settings_of_hanbert(names, stand_in_folder, tmp_path):
    """transformers builds these, and fails at the first list of texts."""
    folder = copy(stand_in_folder, tmp_path / "model")
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_input_names": names}))
    with pytest.raises(ModelError, match=rf"^no tokenizer in {folder}: [^\n]+$"):
        build_tokenizer(None, folder, folder)


def test_moran_that_is_another_library(tmp_path):
    if shutil.which("gcc") is None:
        pytest.skip("no gcc to compile a library")
    (tmp_path / "other.c").write_text("int other(void) { return 0; }")
    library = tmp_path / "libmoran4dnlp.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, tmp_path / "other.c"], check=True)
    with pytest.raises(ValueError, match=r"does not load on .*Moran4dnlp"):
        analyse(library, "")


def test_a_missing_dictionary_is_told(tmp_path):
    (tmp_path / "vocab_54k.txt").write_text("\n".join(VOCABULARY), encoding="utf-8")
    compile_stand_in(tmp_path, status=-1)
    with pytest.warns(RuntimeWarning, match=r"dictionary /usr/local/moran/moran\.db is missing"):
        assert build(tmp_path).tokenize("친구를") == ["친구", "~~를"]


@needs_moran
@pytest.mark.skipif(hanbert_module.DICTIONARY.is_file(), reason="Moran has its dictionary here")
def test_moran_without_dictionary():
    tokenizer = build(REAL)
    morphemes = analyse(tokenizer.moran_library, "나는 오늘 학교에 가서 친구를 만났다.")
    assert morphemes == "나 ~~는 오늘 학교에 가서 친구 ~~를 만났다 .".split()
    tokens = tokenizer.tokenize("나는 오늘 학교에 가서 친구를 만났다.")
    assert tokens == "나 ~~는 오늘 학교 ##에 가서 친구 ~~를 만났 ##다 .".split()


@needs_moran
@pytest.mark.skipif(not hanbert_module.DICTIONARY.is_file(), reason="no dictionary at /usr/local/moran")
def test_moran_with_dictionary():
    # Example and tokens are those of the README of HanBert-Transformers.
    text = "나는 걸어가고 있는 중입니다. 나는걸어 가고있는 중입니다. 잘 분류되기도 한다. 잘 먹기도 한다."
    expected = (
        "나 ~~는 걸어가 ~~고 있 ~~는 중 ~~입 ~~니다 . 나 ##는걸 ##어 가 ~~고 ~있 ~~는 중 ~~입 ~~니다 . "
        "잘 분류 ~~되 ~~기 ~~도 한 ~~다 . 잘 먹 ~~기 ~~도 한 ~~다 ."
    )
    assert build(REAL).tokenize(text) == expected.split()


@needs_moran
def test_moran_loses_and_garbles_nothing():
    tokenizer = build(REAL)
    text = "사랑해요♡♡♡ “……” 좋다★★★★ 中國 한글 12,000원 시즌2가 " * 400  # far more words than one call bears
    tokens, offsets = tokenizer.tokenize_with_offsets(text)
    covered = {index for start, end in offsets for index in range(start, end)}
    assert covered == {index for index, letter in enumerate(text) if letter != " "}
    for token, (start, end) in zip(tokens, offsets, strict=True):
        surface = token.removeprefix("##") if token.startswith("##") else token.lstrip("~")
        assert token == "[UNK]" or surface == text[start:end]
    assert tokenizer.tokenize("♥♥♥가") == tokenizer.tokenize("♥ ♥ ♥ 가")
