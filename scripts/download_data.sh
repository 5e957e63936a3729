#!/usr/bin/env bash
# Fetches the short tasks' data from their official places into data/<task>/.
#
#   bash scripts/download_data.sh                        every task that can be fetched
#   bash scripts/download_data.sh nsmc korsts            these two
#   bash scripts/download_data.sh --data_dir /big/data --list
#
#   --data_dir FOLDER    where the task folders are (default: data)
#   --list               what would be fetched from where, and what is there already
#   --mirror URL         fetch URL/<host>/<path> for https://<host>/<path>; $DATA_MIRROR does the same
#   --retries N          tries for each file (default: 4)
#   --retry_delay SEC    pause between two tries (default: 3)
#
# A transfer that breaks off leaves FILE.part, which the next try, or the next call, continues. A file gets its name
# only after a look at it: no HTML page, the right columns, about the right number of lines. What is there and good is
# not fetched again. Exit code: 0 all there, 1 something is missing, 2 wrong arguments.

set -euo pipefail
# shellcheck source=scripts/download.sh
source "$(dirname "${BASH_SOURCE[0]}")/download.sh"
tasks="" failed_archive=""

GITHUB=https://raw.githubusercontent.com
KORNLU=$GITHUB/kakaobrain/kor-nlu-datasets/master
KOELECTRA=$GITHUB/monologg/KoELECTRA/master/finetune/data
QUESTION_PAIR=$GITHUB/songys/Question_pair/master
KORQUAD=https://korquad.github.io/dataset
PAWSX=https://storage.googleapis.com/paws/pawsx/x-final.tar.gz

# task | file | address, with #member for an archive | columns of the header (=N: no header, N columns; squad: JSON with
# questions) | least number of lines (squad: of questions) | sha256 of the file that this project was tested with (-:
# unknown)
files() {
  cat <<END
nsmc|ratings_train.txt|$GITHUB/e9t/nsmc/master/ratings_train.txt|id document label|150000|-
nsmc|ratings_test.txt|$GITHUB/e9t/nsmc/master/ratings_test.txt|id document label|50000|-
kornli|multinli.train.ko.tsv|$KORNLU/KorNLI/multinli.train.ko.tsv|sentence1 sentence2 gold_label|390000|-
kornli|snli_1.0_train.ko.tsv|$KORNLU/KorNLI/snli_1.0_train.ko.tsv|sentence1 sentence2 gold_label|545000|-
kornli|xnli.dev.ko.tsv|$KORNLU/KorNLI/xnli.dev.ko.tsv|sentence1 sentence2 gold_label|2400|821fb1c1c2e538ac2724a6132da36ffa379eb9a542ceb89243b3cf711377382c
kornli|xnli.test.ko.tsv|$KORNLU/KorNLI/xnli.test.ko.tsv|sentence1 sentence2 gold_label|4900|0db53cf8e182283a0d0404ec3fe1b15d1e29236d23d22082dc20d43067254b3e
korsts|sts-train.tsv|$KORNLU/KorSTS/sts-train.tsv|genre filename year id score sentence1 sentence2|5700|b5aaa7f957d6ff46f4b6834a8b0f024a9234a6eefe9289aed66746b4533da3b8
korsts|sts-dev.tsv|$KORNLU/KorSTS/sts-dev.tsv|genre filename year id score sentence1 sentence2|1480|d835b65b424401fbcce6be28a78159df8d61f5b19977ea7a0b83b8cb6105f393
korsts|sts-test.tsv|$KORNLU/KorSTS/sts-test.tsv|genre filename year id score sentence1 sentence2|1360|13f83a3440d9db52d134eb40303ce021b03264aa338fbf2871c8786ce04d2105
paws|translated_train.tsv|$PAWSX#x-final/ko/translated_train.tsv|id sentence1 sentence2 label|49000|-
paws|dev_2k.tsv|$PAWSX#x-final/ko/dev_2k.tsv|id sentence1 sentence2 label|1900|ec6f963972f61f50b164bcf62c8ee06e6565c365d871d14d85e08f398d402b99
paws|test_2k.tsv|$PAWSX#x-final/ko/test_2k.tsv|id sentence1 sentence2 label|1900|45bb61a9cda953047f4d0628f02555fef2d0c0b5dc05787be3e2c16965a2eef8
question-pair|train.tsv|$QUESTION_PAIR/train.txt|question1 question2 is_duplicate|6000|addf4c88b19066ad55a09f466c5c3f6428b3f2bd5d55100d3ca5b93d9d8daff9
question-pair|dev.tsv|$QUESTION_PAIR/validation.txt|question1 question2 is_duplicate|670|3928c783f561f36547fd8e0c9d78a6e1d6013db3debcf559c4135aa5536badea
question-pair|test.tsv|$QUESTION_PAIR/test.txt|question1 question2 is_duplicate|740|0d5738107ea3742de4dcaf3a358b6bfa4818781bc6aec11a9956a3fbe35f8b61
hate-speech|train.tsv|$KOELECTRA/hate-speech/train.tsv|title comment bias hate|7800|d851fb0a3bceed9aa1f7f287612986a6c2c0eb66680f37bc2dfb23201ce9252b
hate-speech|val.tsv|$KOELECTRA/hate-speech/val.tsv|title comment bias hate|460|3389eecafe121839b632eddb0d8ad475f049f3bddc10f3b9360e9e5a82434eef
naver-ner|train.tsv|$KOELECTRA/naver-ner/train.tsv|=2|70000|-
naver-ner|test.tsv|$KOELECTRA/naver-ner/test.tsv|=2|8000|-
korquad|KorQuAD_v1.0_train.json|$KORQUAD/KorQuAD_v1.0_train.json|squad|60407|-
korquad|KorQuAD_v1.0_dev.json|$KORQUAD/KorQuAD_v1.0_dev.json|squad|5774|-
END
}

# task | file below the data folder | where a person gets it
by_hand() {
  cat <<'END'
fake-news|fake_news/mission2_train.csv|unpack data/mission2_train.zip of https://github.com/2alive3s/Fake_news (commit b43638105f4802de5773c21afe539157ebed6cc5)
modu-sentiment|modu_sentiment/EXSA2002108040.json|https://corpus.korean.go.kr, the Sentiment Analysis Corpus 2020 (감성 분석 말뭉치 2020), after signing its agreement
END
}

file_problem() { # COLUMNS LEAST FILE: says what is wrong with a file, nothing if it is good
  local reason
  reason=$(page_problem "$3")
  if [[ -n $reason ]]; then
    echo "$reason"
  elif [[ $1 == squad ]]; then
    squad_problem "$2" "$3"
  else
    table_problem "$@"
  fi
}

table_problem() { # COLUMNS LEAST FILE: of a tab-separated file
  local columns=$1 least=$2 file=$3 first count lines fields
  first=$(head -n 1 "$file" | tr -d '\000\r')
  first=${first#$'\xef\xbb\xbf'}
  if [[ $columns == =* ]]; then
    count=${columns#=}
  else
    count=$(wc -w <<<"$columns" | tr -d ' ')
    if [[ $first != "${columns// /$'\t'}" ]]; then
      echo "its first line is \"$(tr '\t' ' ' <<<"${first:0:100}")\", not \"$columns\""
      return
    fi
  fi
  # The second line, because a header proves nothing about the rows; a file without header has its second row here.
  read -r lines fields < <(awk -F '\t' 'NR == 2 { fields = NF } END { print NR, fields + 0 }' "$file")
  if ((lines < least)); then
    echo "it has $lines lines, fewer than $least"
  elif ((fields != count)); then
    echo "line 2 has $fields columns, not $count"
  fi
}

unpack() { # ARCHIVE_ADDRESS MEMBER FOLDER PART: fetches the archive once for all its members
  local address=$1 member=$2 folder=$3 part=$4 file
  file=$folder/$(basename "$address")
  [[ $failed_archive != "$address" ]] || return 1
  if ! archive "$address" "$file" gzip_problem; then
    failed_archive=$address
    return 1
  fi
  if ! tar -xzOf "$file" "$member" >"$part" 2>/dev/null; then
    rm -f "$part"
    echo "refused $file: it has no $member" >&2
    return 1
  fi
}

obtain() { # TASK FILE ADDRESS COLUMNS LEAST SHA256: the file is in place and good, or 1
  local folder=$data_dir/$1 target=$data_dir/$1/$2 address=$3 columns=$4 least=$5 digest=$6 part reason=
  part=$target.part
  if [[ -e $target ]]; then
    reason=$(file_problem "$columns" "$least" "$target")
    if [[ -z $reason ]]; then
      echo "have    $target"
      return 0
    fi
    echo "warning: $target is there, but $reason; fetching it (yours will be $2.old)" >&2
  fi
  mkdir -p "$folder" || return 1
  if [[ $address == *#* ]]; then
    unpack "${address%%#*}" "${address#*#}" "$folder" "$part" || return 1
    reason=$(file_problem "$columns" "$least" "$part")
    if [[ -n $reason ]]; then
      rm -f "$part"
      echo "refused $address: $reason" >&2
      return 1
    fi
  else
    echo "fetch   $address"
    download "$address" "$part" "$digest" file_problem "$columns" "$least" || return 1
  fi
  if [[ -e $target ]]; then mv "$target" "$target.old" || return 1; fi
  mv "$part" "$target" || return 1
  echo "done    $target"
  if [[ $digest != - && $(sha256 "$target") != "$digest" ]]; then
    echo "warning: $target looks right, but its sha256 is not that of the file this project was tested with" >&2
  fi
}

wanted() { # TASK
  [[ -z $tasks || " $tasks " == *" $1 "* ]]
}

list() {
  local task file address rest
  while IFS='|' read -r task file address rest; do
    ! wanted "$task" || echo "$task  $data_dir/$task/$file  $(state "$data_dir/$task/$file")  $address"
  done < <(files)
  while IFS='|' read -r task file address; do
    ! wanted "$task" || echo "$task  $data_dir/$file  $(state "$data_dir/$file")  by hand: $address"
  done < <(by_hand)
}

main() {
  local task file address columns least digest missing=""
  while IFS='|' read -r -u 3 task file address columns least digest; do
    wanted "$task" || continue
    obtain "$task" "$file" "$address" "$columns" "$least" "$digest" || missing+="  $data_dir/$task/$file"$'\n'
  done 3< <(files)
  # The archive goes when its three files are there; until then it is kept, so that nothing is fetched twice.
  [[ $missing == *"$data_dir/paws/"* ]] || rm -f "$data_dir/paws/$(basename "$PAWSX")"
  while IFS='|' read -r task file address; do
    if wanted "$task" && [[ ! -s $data_dir/$file ]]; then
      echo "by hand $data_dir/$file: $address"
      # Missing is an error only for tasks named on the command line.
      [[ -z $tasks ]] || missing+="  $data_dir/$file"$'\n'
    fi
  done < <(by_hand)
  end "$missing"
}

argument() { # WORD: a task
  local known
  [[ $1 != -* ]] || die "unknown flag $1 (--help lists them)"
  known=$({ files; by_hand; } | cut -d '|' -f 1 | uniq | tr '\n' ' ')
  [[ " $known" == *" $1 "* ]] || die "unknown task $1 (there is: ${known% })"
  tasks+="${tasks:+ }$1"
}

run "$@"
