"""The words of the tables that scripts/benchmarks_page.py makes, in two languages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Words:
    """The words of the tables in one language.

    language: en or ko. readme, page: where the tables stand, as paths in the repository. quick_start: the sentence
    above its commands, with places for the seconds and the machine. times: a ratio in the README's table.
    summary_header: its header, whose first cell has a place for the machine. summary: its rows' first cells. columns:
    key of a step's figure -> title. faster: title of the column that says how many times as fast the unpadded step is.
    steps: part -> first cell of the header of its table, with a place for the tokens of a row. arms: arm -> first cell
    of its row. questions_header, questions: of the table of features and answers. attention_header, attention: of
    BigBird's. seconds: a cell of it, with places for seconds and MiB. questions_loops_header, rows_loops_header, loops:
    of tables that hold a plain way against ours, and their rows' first cells.
    """

    language: str
    readme: str
    page: str
    quick_start: str
    times: str
    summary_header: tuple[str, ...]
    summary: tuple[str, ...]
    columns: Mapping[str, str]
    faster: str
    steps: Mapping[str, str]
    arms: Mapping[str, str]
    questions_header: tuple[str, ...]
    questions: tuple[str, ...]
    attention_header: tuple[str, ...]
    attention: Mapping[str, str]
    seconds: str
    questions_loops_header: tuple[str, ...]
    rows_loops_header: tuple[str, ...]
    loops: Mapping[str, str]


ENGLISH = Words(
    language="en",
    readme="README.md",
    page="docs/benchmarks.md",
    quick_start="`quickstart.sh` runs these three commands, in {} seconds on {} once the environment is there:",
    times="{} times as fast",
    summary_header=(
        "measured on {}", "as the original does it", "padded to the longest row, same precision", "command",
    ),
    summary=(
        "training KoELECTRA-Small's shape on NSMC",
        "KorQuAD features",
        "training on KorQuAD windows of up to 512 tokens",
        "a SpanBERT step on a mix of Korean corpora",
        "a Splinter step on the same mix",
    ),
    columns={
        "rows_per_second": "rows/s",
        "real_tokens_per_second": "real tokens/s",
        "padding_ratio": "padding",
        "of_matmul": "share of the matrix-product rate",
        "peak_mib": "peak memory",
    },
    faster="unpadded is so many times as fast",
    steps={
        "classification": "{} tokens a row",
        "questions": "training, {} tokens a window",
        "mix": "SpanBERT, the mix, {} tokens a row",
        "full": "SpanBERT, full rows, {} tokens a row",
        "splinter": "Splinter, the mix, {} tokens a row",
    },
    arms={
        "original_fp32": "padded to the most that is allowed, fp32 (as KoELECTRA trained)",
        "original": "as the original, fp32",
        "longest_fp32": "padded to the longest row, fp32",
        "longest_bf16": "padded to the longest row, bf16",
        "ours_fp32": "**unpadded, fp32**",
        "ours_bf16": "**unpadded, bf16 (the default here)**",
        "ours": "**unpadded, bf16 (the default here)**",
    },
    questions_header=("questions/s", "features", "ours, times as fast", "n-best answers", "ours, times as fast"),
    questions=(
        "the code that KoELECTRA ran (`--transformers2`)",
        "a plain reference that works in the same way",
        "Rust tokenizer with strides, once per question",
        "**ours**",
    ),
    attention_header=(
        "tokens", "", "transformers' block_sparse", "full (SDPA)", "**ours**",
        "times as fast as block_sparse", "times as fast as full",
    ),
    attention={"attention": "attention", "step": "step"},
    seconds="{} s, {} MiB",
    questions_loops_header=("questions/s, one core", "the original's way", "**ours**", "times as fast"),
    rows_loops_header=("rows/s, one core", "a plain loop", "**ours**", "times as fast"),
    loops={"features": "features of TyDi QA", "masking": "masking spans", "clusters": "finding recurring spans"},
)  # fmt: skip
KOREAN = Words(
    language="ko",
    readme="README_KO.md",
    page="docs/benchmarks_ko.md",
    quick_start="`quickstart.sh`는 환경을 만든 뒤 다음 세 명령을 실행하며, {1}에서 {0}초가 걸립니다.",
    times="{}배",
    summary_header=("{}에서 측정", "원래 방식 대비", "같은 정밀도에서 가장 긴 행까지 패딩하는 방식 대비", "명령"),
    summary=(
        "KoELECTRA-Small과 같은 구조의 NSMC 학습",
        "KorQuAD 피처 생성",
        "최대 512토큰 KorQuAD 윈도우 학습",
        "여러 한국어 말뭉치를 섞은 SpanBERT 스텝",
        "같은 말뭉치의 Splinter 스텝",
    ),
    columns={
        "rows_per_second": "rows/s",
        "real_tokens_per_second": "실제 토큰/s",
        "padding_ratio": "패딩 비율",
        "of_matmul": "행렬 곱 최대 속도 대비",
        "peak_mib": "최대 메모리",
    },
    faster="패딩 제거의 속도(배)",
    steps={
        "classification": "행당 {}토큰",
        "questions": "학습, 윈도우당 {}토큰",
        "mix": "SpanBERT, 섞은 말뭉치, 행당 {}토큰",
        "full": "SpanBERT, 꽉 찬 행, 행당 {}토큰",
        "splinter": "Splinter, 섞은 말뭉치, 행당 {}토큰",
    },
    arms={
        "original_fp32": "허용된 최대 길이까지 패딩, fp32 (KoELECTRA 방식)",
        "original": "원본 방식, fp32",
        "longest_fp32": "가장 긴 행까지 패딩, fp32",
        "longest_bf16": "가장 긴 행까지 패딩, bf16",
        "ours_fp32": "**패딩 제거, fp32**",
        "ours_bf16": "**패딩 제거, bf16 (이 장비의 기본값)**",
        "ours": "**패딩 제거, bf16 (이 장비의 기본값)**",
    },
    questions_header=("초당 질문 수", "피처 생성", "이 스위트의 속도(배)", "n-best 답 디코딩", "이 스위트의 속도(배)"),
    questions=(
        "KoELECTRA가 실제로 쓴 코드 (`--transformers2`)",
        "같은 방식으로 동작하는 단순 구현",
        "Rust 토크나이저의 stride 기능, 질문마다 한 번씩",
        "**이 스위트**",
    ),
    attention_header=(
        "토큰", "", "transformers의 block_sparse", "전체 어텐션(SDPA)", "**이 스위트**", "block_sparse 대비(배)",
        "전체 어텐션 대비(배)",
    ),
    attention={"attention": "어텐션", "step": "스텝"},
    seconds="{}초, {} MiB",
    questions_loops_header=("초당 질문 수, 코어 1개", "원본 방식", "**이 스위트**", "배"),
    rows_loops_header=("rows/s, 코어 1개", "단순한 루프", "**이 스위트**", "배"),
    loops={"features": "TyDi QA의 피처 생성", "masking": "스팬 마스킹", "clusters": "반복되는 스팬 찾기"},
)  # fmt: skip
LANGUAGES = (ENGLISH, KOREAN)
