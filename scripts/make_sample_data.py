"""Write small synthetic Korean data for every task, and a small model folder to train on it.

    python3 scripts/make_sample_data.py                                  # everything, into sample_data/
    python3 scripts/make_sample_data.py --output_dir /tmp/small --rows 100 --tasks nsmc korsts

Each task has its official file names and formats, in the folder where the real files would be. The texts come from the
grammar in `sample_data/sample_grammar.py`; the awkward rows are in the other files there, one for each kind of task.
People, films and places are made up. The same seed gives the same bytes on any machine. `tiny-electra/` holds a
config.json and a WordPiece tokenizer trained on all the texts, but no weights: it is for training from scratch.
The questions of korquad-few-shot are in few_shot/, for a Splinter that is pretrained on splinter_corpus.jsonl. That
corpus gets a vocabulary of its own, so neither is part of the texts that the tokenizer is trained on. Nor are KLUE's.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the other imports, which take a second
    from reporting.start import run_main, start

    start()

import argparse
import json
import string
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from sample_data.sample_classification import (
    PREDICT_TEXTS,
    make_fake_news,
    make_hate_speech,
    make_kornli,
    make_korsts,
    make_modu_sentiment,
    make_nsmc,
    make_paws,
    make_question_pair,
)
from sample_data.sample_entities import PREDICT_SENTENCES, make_naver_ner
from sample_data.sample_formats import Sample, json_file
from sample_data.sample_klue import (
    make_klue_mrc,
    make_klue_ner,
    make_klue_nli,
    make_klue_re,
    make_klue_sts,
    make_klue_tc,
)
from sample_data.sample_korquad_2 import make_korquad_2
from sample_data.sample_questions import PREDICT_QUESTIONS, make_korquad
from sample_data.sample_recurring import make_few_shot
from sample_data.sample_tydiqa import make_tydiqa
from storage.whole import write_whole

MIN_ROWS = 40  # leaves room for a task's awkward rows and for some rows with each label
VOCAB_SIZE = 4000
SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

TASKS: dict[str, Callable[[int, int | None], Sample]] = {
    "nsmc": make_nsmc,
    "kornli": make_kornli,
    "paws": make_paws,
    "korsts": make_korsts,
    "question-pair": make_question_pair,
    "hate-speech": make_hate_speech,
    "fake-news": make_fake_news,
    "modu-sentiment": make_modu_sentiment,
    "naver-ner": make_naver_ner,
    "korquad": make_korquad,
    "tydiqa": make_tydiqa,
    "korquad-2": make_korquad_2,
    "korquad-few-shot": make_few_shot,
    "klue-tc": make_klue_tc,
    "klue-sts": make_klue_sts,
    "klue-nli": make_klue_nli,
    "klue-re": make_klue_re,
    "klue-ner": make_klue_ner,
    "klue-mrc": make_klue_mrc,
}


def bert_tokenizer(vocab: dict[str, int] | None = None) -> Tokenizer:
    """A WordPiece tokenizer with BERT's rules, cased: strip_accents would take Hangul apart into jamo."""
    model = models.WordPiece(vocab, unk_token="[UNK]") if vocab else models.WordPiece(unk_token="[UNK]")
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=False, lowercase=False
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    return tokenizer


def make_model(texts: Sequence[str]) -> dict[str, bytes]:
    """The files of tiny-electra/: a small ELECTRA's config.json and a tokenizer trained on the texts; no weights."""
    tokenizer = bert_tokenizer()
    # The trainer numbers the ##pieces in the order of a hash map, which differs from run to run, and breaks ties by
    # number. Given first, as "special" tokens, all single characters have fixed numbers, and so has all that follows.
    typed = string.ascii_letters + string.digits + string.punctuation + "ㄱㄴㄷㄹㅁㅂㅅㅇㅈㅊㅋㅌㅍㅎㅏㅓㅗㅜㅠㅡㅣ"
    characters = sorted(set(tokenizer.normalizer.normalize_str(typed + "".join(texts))) - set(" "))
    fixed = [*SPECIAL_TOKENS, *characters, *("##" + char for char in characters)]
    trainer = trainers.WordPieceTrainer(
        vocab_size=VOCAB_SIZE, min_frequency=2, special_tokens=fixed, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    vocab = tokenizer.get_vocab()
    tokenizer = bert_tokenizer(vocab)
    tokenizer.add_special_tokens(SPECIAL_TOKENS)
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", vocab["[SEP]"]), ("[CLS]", vocab["[CLS]"]))
    config = {
        "architectures": ["ElectraForPreTraining"], "model_type": "electra", "vocab_size": len(vocab),
        "embedding_size": 128, "hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 512, "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
        "max_position_embeddings": 512, "type_vocab_size": 2, "initializer_range": 0.02, "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
    }  # fmt: skip
    tokenizer_config = {
        "tokenizer_class": "BertTokenizer", "do_lower_case": False, "strip_accents": False,
        "tokenize_chinese_chars": True, "model_max_length": 512, "pad_token": "[PAD]", "unk_token": "[UNK]",
        "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]",
    }  # fmt: skip
    return {
        "tiny-electra/config.json": (json.dumps(config, indent=2) + "\n").encode(),
        "tiny-electra/tokenizer_config.json": (json.dumps(tokenizer_config, indent=2) + "\n").encode(),
        "tiny-electra/tokenizer.json": (tokenizer.to_str(pretty=True) + "\n").encode(),
        "tiny-electra/vocab.txt": "".join(piece + "\n" for piece in sorted(vocab, key=vocab.__getitem__)).encode(),
    }


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line; a mistake ends the program with a message on stderr and exit code 2."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--output_dir", type=Path, default=Path("sample_data"), help="folder to write to (default: sample_data)")
    add("--seed", type=int, default=42, help="a different seed gives different texts (default: 42)")
    add(
        "--rows",
        type=int,
        help=f"rows in each training file (or questions, for question answering), at least {MIN_ROWS} "
        "(default: 100 to 2,000)",
    )
    names = ", ".join(TASKS)
    add("--tasks", nargs="+", choices=TASKS, default=list(TASKS), metavar="TASK", help=f"any of {names} (default: all)")
    options = parser.parse_args(arguments)
    if options.rows is not None and options.rows < MIN_ROWS:
        parser.error(f"--rows must be at least {MIN_ROWS}, got {options.rows}")
    return options


def complain(message: str) -> int:
    """Prints one line on stderr, and returns the exit code."""
    print(f"make_sample_data.py: error: {message}", file=sys.stderr)
    return 2


def main() -> int:
    """Makes everything in memory, then writes it. The tokenizer does not depend on --rows and --tasks."""
    options = parse_arguments()
    samples = {name: make(options.seed, None) for name, make in TASKS.items()}
    files = make_model([text for sample in samples.values() for text in sample.texts])
    texts = dict.fromkeys(text for sample in samples.values() for text in sample.texts)
    files["corpus.jsonl"] = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts).encode()
    files["texts.txt"] = "".join(text + "\n" for text in PREDICT_TEXTS).encode()
    files["sentences.txt"] = "".join(text + "\n" for text in PREDICT_SENTENCES).encode()
    files["questions.json"] = json_file(PREDICT_QUESTIONS)
    try:
        for name in options.tasks:
            files |= (samples[name] if options.rows is None else TASKS[name](options.seed, options.rows)).files
        for name, content in files.items():
            path = options.output_dir / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, content)
    except OSError as error:
        return complain(f"cannot write to {options.output_dir}: {error.strerror} ({error.filename})")
    except ValueError as error:
        return complain(str(error))
    print(f"{len(files)} files, {sum(map(len, files.values())) / 1e6:.1f} MB, in {options.output_dir}")
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
