"""On real Korean data, where it is there: KoELECTRA-Small's shape learns NSMC from scratch; the benchmark runs."""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"
NSMC = SHARED / "data" / "nsmc"
KORQUAD = SHARED / "data" / "korquad" / "KorQuAD_v1.0_train.json"
VOCABULARY = SHARED / "tokenizers" / "koelectra-base" / "vocab.txt"
KOELECTRA_SMALL = {
    "model_type": "electra",
    "vocab_size": 32200,
    "embedding_size": 128,
    "hidden_size": 256,
    "num_hidden_layers": 12,
    "num_attention_heads": 4,
    "intermediate_size": 1024,
    "max_position_embeddings": 512,
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (NSMC.is_dir() and VOCABULARY.is_file()), reason="../shared/data is not there"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """20,000 NSMC rows, all test rows, and a model folder with KoELECTRA's vocabulary and no weights."""
    folder = tmp_path_factory.mktemp("real")
    (folder / "data" / "nsmc").mkdir(parents=True)
    rows = (NSMC / "ratings_train.txt").read_text(encoding="utf-8").split("\n")
    (folder / "data" / "nsmc" / "ratings_train.txt").write_text("\n".join(rows[:20_001]) + "\n", encoding="utf-8")
    (folder / "data" / "nsmc" / "ratings_test.txt").symlink_to(NSMC / "ratings_test.txt")
    (folder / "small").mkdir()
    (folder / "small" / "config.json").write_text(json.dumps(KOELECTRA_SMALL))
    (folder / "small" / "vocab.txt").symlink_to(VOCABULARY)
    return folder


def run(folder: Path, *command: str) -> str:
    process = subprocess.run(
        [sys.executable, *command], cwd=folder, capture_output=True, text=True, timeout=2400, check=False
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


def test_koelectra_small_from_scratch_learns_nsmc_in_an_epoch(folder):
    """At 5e-4 twelve fresh layers may learn for hundreds of steps and then fall back to chance, seed by seed."""
    run(
        folder, str(ROOT / "run_seq_cls.py"), "--task", "nsmc", "--model_name_or_path", "small", "--from_scratch",
        "--num_train_epochs", "1", "--learning_rate", "2e-4", "--warmup_proportion", "0.1", "--eval_steps", "0",
        "--save_steps", "0", "--select_by", "last", "--output_dir", "nsmc",
    )  # fmt: skip
    results = json.loads((folder / "ckpt" / "nsmc" / "results.json").read_text())
    assert results["metrics"]["accuracy"] >= 0.70 and not results["at_chance"]
    assert results["selection"] == "last" and results["step"] == 625


def test_the_benchmark_runs_and_reports_what_it_should(folder):
    """One short repeat: no figure of it is looked at; the measured ones are in README.md."""
    run(
        folder, str(ROOT / "benchmarks" / "bench_seq_cls.py"), "--rows_file", str(NSMC / "ratings_train.txt"),
        "--tokenizer", "small", "--steps", "2", "--repeats", "1", "--json", "bench.json",
    )  # fmt: skip
    report = json.loads((folder / "bench.json").read_text())
    assert set(report) == {"date", "commit", "command", "device", "threads", "versions", "rows", "ratios"}
    assert report["command"].startswith("python3 benchmarks/bench_seq_cls.py --rows_file")
    assert {"vs_original_padding_fp32", "vs_longest_padding_same_precision", "matmul_fraction"} <= set(report["ratios"])
    by_arm = {row["arm"]: row for row in report["rows"]}
    assert by_arm["original_fp32"]["padding_ratio"] > by_arm["longest_fp32"]["padding_ratio"] > 0
    assert by_arm["ours_fp32"]["padding_ratio"] == 0


def test_the_benchmark_of_question_answering_runs(folder):
    """A few questions. Our windows and answers are held against the original's in the benchmark itself."""
    run(
        folder, str(ROOT / "benchmarks" / "bench_qa.py"), "--data_file", str(KORQUAD), "--tokenizer", "small",
        "--questions", "40", "--max_seq_length", "128", "--doc_stride", "32", "--max_query_length", "32",
        "--steps", "1", "--repeats", "1", "--no_cuda", "--json", "bench_qa.json",
    )  # fmt: skip
    report = json.loads((folder / "bench_qa.json").read_text())
    ratios = {"features_vs_original", "features_vs_rust_per_question", "decoding_vs_python", "training_vs_original"}
    assert ratios <= {name for name, ratio in report["ratios"].items() if ratio > 0}
    assert all(row["arm"].startswith(("features: ", "decoding: ", "training: ")) for row in report["rows"])


def test_the_benchmark_of_long_documents_runs(folder):
    """Our windows are held against the original's in the benchmark itself."""
    with (SHARED / "data" / "tydiqa" / "tydiqa-v1.0-dev.jsonl").open(encoding="utf-8") as file:
        (folder / "tydiqa.jsonl").write_text("".join(itertools.islice(file, 20)), encoding="utf-8")
    run(
        folder, str(ROOT / "benchmarks" / "bench_long.py"), "--data_file", "tydiqa.jsonl", "--tokenizer", "small",
        "--lengths", "1024", "--repeats", "1", "--no_cuda", "--json", "bench_long.json",
    )  # fmt: skip
    report = json.loads((folder / "bench_long.json").read_text())
    expected = {"features_vs_original", "attention_vs_hf_fp32_1024", "step_vs_hf_fp32_1024", "step_vs_hf_bf16_1024"}
    assert expected <= {name for name, ratio in report["ratios"].items() if ratio > 0}
    assert 0 < report["ratios"]["attention_memory_of_hf_fp32_1024"] < 1
