#!/usr/bin/env bash
# Fetches the short tasks' data from their official places into data/<task>/, and KLUE's into data/klue/.
#
#   bash scripts/download_data.sh                        every task that can be fetched
#   bash scripts/download_data.sh nsmc korsts            these two
#   bash scripts/download_data.sh --data_dir /big/data --list
#
#   --data_dir FOLDER    where the task folders are (default: data)
#   --accept_changed     take a file that looks right, though its digest is not the known one
#   --list               what would be fetched from where, and what is there already
#   --mirror URL         fetch URL/<host>/<path> for https://<host>/<path>; $DATA_MIRROR does the same
#   --retries N          tries for each file (default: 4)
#   --retry_delay SEC    pause between two tries (default: 3)
#
# A transfer that breaks off leaves FILE.part, which the next try, or the next call, continues. A file gets its name
# only if its digest is the known one or, with --accept_changed, after a look at it: no HTML page, the right columns,
# about the right number of lines, at most twice the known size. What is there and looks right is not fetched again. A
# file of yours that does not look right becomes FILE.old (FILE.old2, ...). Exit code: 0 all there, 1 something is
# missing, 2 wrong arguments.

set -euo pipefail
# shellcheck source=scripts/download.sh
source "$(dirname "${BASH_SOURCE[0]}")/download.sh"
tasks="" failed_archive="" part=""

GITHUB=https://raw.githubusercontent.com
KORNLU=$GITHUB/kakaobrain/kor-nlu-datasets/master
KOELECTRA=$GITHUB/monologg/KoELECTRA/master/finetune/data
QUESTION_PAIR=$GITHUB/songys/Question_pair/master
KORQUAD=https://korquad.github.io/dataset
KLUE=$GITHUB/KLUE-benchmark/KLUE/main/klue_benchmark
PAWSX=https://storage.googleapis.com/paws/pawsx/x-final.tar.gz
PAWSX_KNOWN="30282057|4146db499101d66e68ae4c8ed3cf9dadecd625f44b7d8cf3d4a0fe93afc4fd9f"

# task | file | address, with #member for an archive | columns of the header (=N: no header, N columns; squad: JSON
# with questions; klue: rows or sentences with a guid) | least number of lines (squad: of questions; klue: of guids) |
# bytes and digest of what is at the address (for a member, of the archive)
#
# The digests of nsmc, kornli, korsts, korquad and question-pair are in the checksums of the `datasets` library
# (datasets/*/dataset_infos.json until 2.x) or of tfds-korean (tfds_korean/*/checksums.tsv), most of them in both.
# That of PAWS-X is in the checksums of `datasets` and of tensorflow_datasets. Those of hate-speech and naver-ner are
# of the files in KoELECTRA's repository at commit 024fbdd. Of naver-ner's train.tsv only git's name is known, and an
# upper bound of its size, which is the size of the file of Naver that it was made from. Those of KLUE are of its
# repository at commit 3efd987. Where that is git's name, the size is an upper bound, reckoned from the rows of the
# files whose size is known.
files() {
  cat <<END
nsmc|ratings_train.txt|$GITHUB/e9t/nsmc/master/ratings_train.txt|id document label|150000|14628807|e03b7d14e9e41be8d464a28057cd25d7396c53e67aa7fd5f7e552c59b0ee2940
nsmc|ratings_test.txt|$GITHUB/e9t/nsmc/master/ratings_test.txt|id document label|50000|4893335|8ac9f64052f11dbf6ae0acb5e038f03d90a76f0eda7820cfb3a92d02edfcebda
kornli|multinli.train.ko.tsv|$KORNLU/KorNLI/multinli.train.ko.tsv|sentence1 sentence2 gold_label|390000|83550821|dca5bf65597af45b139a5fbc8aa3587b612b391446475617b8faa09e5dfcd349
kornli|snli_1.0_train.ko.tsv|$KORNLU/KorNLI/snli_1.0_train.ko.tsv|sentence1 sentence2 gold_label|545000|78486224|aaf12d8955fcda2b14319e5cabb9b31824c6f504aede460c975b518911f484c0
kornli|xnli.dev.ko.tsv|$KORNLU/KorNLI/xnli.dev.ko.tsv|sentence1 sentence2 gold_label|2400|511383|821fb1c1c2e538ac2724a6132da36ffa379eb9a542ceb89243b3cf711377382c
kornli|xnli.test.ko.tsv|$KORNLU/KorNLI/xnli.test.ko.tsv|sentence1 sentence2 gold_label|4900|1032430|0db53cf8e182283a0d0404ec3fe1b15d1e29236d23d22082dc20d43067254b3e
korsts|sts-train.tsv|$KORNLU/KorSTS/sts-train.tsv|genre filename year id score sentence1 sentence2|5700|1046952|b5aaa7f957d6ff46f4b6834a8b0f024a9234a6eefe9289aed66746b4533da3b8
korsts|sts-dev.tsv|$KORNLU/KorSTS/sts-dev.tsv|genre filename year id score sentence1 sentence2|1480|307276|d835b65b424401fbcce6be28a78159df8d61f5b19977ea7a0b83b8cb6105f393
korsts|sts-test.tsv|$KORNLU/KorSTS/sts-test.tsv|genre filename year id score sentence1 sentence2|1360|249596|13f83a3440d9db52d134eb40303ce021b03264aa338fbf2871c8786ce04d2105
paws|translated_train.tsv|$PAWSX#x-final/ko/translated_train.tsv|id sentence1 sentence2 label|49000|$PAWSX_KNOWN
paws|dev_2k.tsv|$PAWSX#x-final/ko/dev_2k.tsv|id sentence1 sentence2 label|1900|$PAWSX_KNOWN
paws|test_2k.tsv|$PAWSX#x-final/ko/test_2k.tsv|id sentence1 sentence2 label|1900|$PAWSX_KNOWN
question-pair|train.tsv|$QUESTION_PAIR/train.txt|question1 question2 is_duplicate|6000|441758|addf4c88b19066ad55a09f466c5c3f6428b3f2bd5d55100d3ca5b93d9d8daff9
question-pair|dev.tsv|$QUESTION_PAIR/validation.txt|question1 question2 is_duplicate|670|49083|3928c783f561f36547fd8e0c9d78a6e1d6013db3debcf559c4135aa5536badea
question-pair|test.tsv|$QUESTION_PAIR/test.txt|question1 question2 is_duplicate|740|54395|0d5738107ea3742de4dcaf3a358b6bfa4818781bc6aec11a9956a3fbe35f8b61
hate-speech|train.tsv|$KOELECTRA/hate-speech/train.tsv|title comment bias hate|7800|1609701|d851fb0a3bceed9aa1f7f287612986a6c2c0eb66680f37bc2dfb23201ce9252b
hate-speech|val.tsv|$KOELECTRA/hate-speech/val.tsv|title comment bias hate|460|96297|3389eecafe121839b632eddb0d8ad475f049f3bddc10f3b9360e9e5a82434eef
naver-ner|train.tsv|$KOELECTRA/naver-ner/train.tsv|=2|70000|16945023|git:a9e359664d261e9c7fc2a63d5ecf465bbb00b01b
naver-ner|test.tsv|$KOELECTRA/naver-ner/test.tsv|=2|8000|1445566|27bc732d9bd5ea2e1c0c43964dac9ce3ab9c9b8bfaef0f71bfde2bfbcbac2694
korquad|KorQuAD_v1.0_train.json|$KORQUAD/KorQuAD_v1.0_train.json|squad|60407|38527475|40d5115879a701751781df721d901abfa736d8db5f89000f2619433f39bf2dd2
korquad|KorQuAD_v1.0_dev.json|$KORQUAD/KorQuAD_v1.0_dev.json|squad|5774|3881058|25ffeb51e6c51ec02c071b60a10188e10005c144110f0d876b26079d80a35bdf
klue-tc|ynat-v1.1_train.json|$KLUE/ynat-v1.1/ynat-v1.1_train.json|klue|45678|32000000|git:e74e912a66720294bd6fe70e69b0cd131a0a10d7
klue-tc|ynat-v1.1_dev.json|$KLUE/ynat-v1.1/ynat-v1.1_dev.json|klue|9107|7000000|git:f4fb92cc5d967b586ea5172c3da8c379ba31caf9
klue-sts|klue-sts-v1.1_train.json|$KLUE/klue-sts-v1.1/klue-sts-v1.1_train.json|klue|11668|11000000|git:4e92fce70fe9f2dbed2ffcb9c2aec7417c6d32ff
klue-sts|klue-sts-v1.1_dev.json|$KLUE/klue-sts-v1.1/klue-sts-v1.1_dev.json|klue|519|454638|b6a0ae0c370e21687f7eef0fdea872a328bb2ecbdb020c546cb870d28606bf80
klue-nli|klue-nli-v1.1_train.json|$KLUE/klue-nli-v1.1/klue-nli-v1.1_train.json|klue|24998|14000000|git:a7903d15f09a3663d8f1d78e68d8d6c10dbd8618
klue-nli|klue-nli-v1.1_dev.json|$KLUE/klue-nli-v1.1/klue-nli-v1.1_dev.json|klue|3000|1498298|0699db82be17766b26e199864e6260443e17ec6e91d1870e876419e388f245b1
klue-re|klue-re-v1.1_train.json|$KLUE/klue-re-v1.1/klue-re-v1.1_train.json|klue|32470|26000000|git:83b1fd41b1ea65dc29cd5bcfe1721bcdb25bd4d6
klue-re|klue-re-v1.1_dev.json|$KLUE/klue-re-v1.1/klue-re-v1.1_dev.json|klue|7765|7000000|git:f3e013f47e0a5a5d234410f8cdaa1eb8d89ccce3
klue-ner|klue-ner-v1.1_train.tsv|$KLUE/klue-ner-v1.1/klue-ner-v1.1_train.tsv|klue|21008|13000000|git:b4f5d7dba85bb04d9dd72c7491bd62568af55cf1
klue-ner|klue-ner-v1.1_dev.tsv|$KLUE/klue-ner-v1.1/klue-ner-v1.1_dev.tsv|klue|5000|2635045|0f4d5e818f7b82d299c3a87856fc40a706f5943207580ddb252397e387050a54
klue-mrc|klue-mrc-v1.1_train.json|$KLUE/klue-mrc-v1.1/klue-mrc-v1.1_train.json|squad|17554|60000000|git:46fd63137949a85f054aacb81ca4065c7b3a5882
klue-mrc|klue-mrc-v1.1_dev.json|$KLUE/klue-mrc-v1.1/klue-mrc-v1.1_dev.json|squad|5841|20000000|git:b89a46fcc5f3b15be59703abd626b52e4c4dd236
END
}

# task | file below the data folder | where a person gets it
by_hand() {
  cat <<'END'
fake-news|fake_news/mission2_train.csv|unpack data/mission2_train.zip of https://github.com/2alive3s/Fake_news (commit b43638105f4802de5773c21afe539157ebed6cc5)
modu-sentiment|modu_sentiment/EXSA2002108040.json|https://corpus.korean.go.kr, the Sentiment Analysis Corpus 2020 (감성 분석 말뭉치 2020), after signing its agreement
END
}

folder_of() { # TASK: its folder in the data folder
  case $1 in
    klue-tc) echo "klue/ynat-v1.1" ;;
    klue-*) echo "klue/$1-v1.1" ;;
    *) echo "$1" ;;
  esac
}

file_problem() { # COLUMNS LEAST FILE: says what is wrong with a file, nothing if it is good
  local reason
  reason=$(page_problem "$3")
  if [[ -n $reason ]]; then
    echo "$reason"
  elif [[ $1 == squad ]]; then
    squad_problem "$2" "$3"
  elif [[ $1 == klue ]]; then
    klue_problem "$2" "$3"
  else
    table_problem "$@"
  fi
}

klue_problem() { # LEAST FILE: of a JSON list of rows, or of sentences with a character on each line
  local rows
  rows=$(tr ',{' '\n\n' <"$2" | { grep -c -e '"guid"[[:space:]]*:' -e '^## klue-ner-' || true; })
  if ((rows < $1)); then echo "it has $rows rows, fewer than $1"; fi
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

unpack() { # ARCHIVE_ADDRESS MEMBER FOLDER BYTES DIGEST: into `part`; fetches the archive once for all its members
  local address=$1 member=$2 file
  file=$3/$(basename "$address")
  [[ $failed_archive != "$address" ]] || return 1
  if ! archive "$address" "$file" "$4" "$5" gzip_problem "$4"; then
    failed_archive=$address
    return 1
  fi
  rm -f "$part"
  # Nothing but the content of a file is taken from the archive: no mode, no owner, no link.
  if ! tar -xzOf "$whole" "$member" >"$part" 2>/dev/null; then
    rm -f "$part"
    echo "refused $whole: it has no $member" >&2
    return 1
  fi
}

obtain() { # TASK FILE ADDRESS COLUMNS LEAST BYTES DIGEST: the file is in place and good, or 1
  local folder target address=$3 check=(file_problem "$4" "$5") bytes=$6 digest=$7
  folder=$data_dir/$(folder_of "$1")
  target=$folder/$2
  part=$target.part
  if is_there "$target"; then
    reason=$("${check[@]}" "$target")
    if [[ -z $reason ]]; then
      # For a member of an archive there is no digest of its own.
      if [[ $address == *#* ]] || has_digest "$digest" "$target"; then
        echo "have    $target"
      else
        echo "have    $target (its digest is not the known one)"
      fi
      return 0
    fi
    echo "warning: $target is there, but $reason; fetching it (yours will be $(basename "$(old_name "$target")"))" >&2
  fi
  mkdir -p "$folder" || return 1
  if [[ $address == *#* ]]; then
    unpack "${address%%#*}" "${address#*#}" "$folder" "$bytes" "$digest" || return 1
    reason=$("${check[@]}" "$part")
    if [[ -n $reason ]]; then
      rm -f "$part"
      echo "refused $address: $reason" >&2
      return 1
    fi
  else
    echo "fetch   $address"
    download "$address" "$part" "$bytes" "$digest" "${check[@]}" || return 1
  fi
  give_name "$part" "$target" || return 1
  echo "done    $target"
}

wanted() { # TASK
  [[ -z $tasks || " $tasks " == *" $1 "* ]]
}

list() {
  local task file address rest
  while IFS='|' read -r task file address rest; do
    wanted "$task" || continue
    file=$data_dir/$(folder_of "$task")/$file
    echo "$task  $file  $(state "$file")  $address"
  done < <(files)
  while IFS='|' read -r task file address; do
    ! wanted "$task" || echo "$task  $data_dir/$file  $(state "$data_dir/$file")  by hand: $address"
  done < <(by_hand)
}

main() {
  local task file address columns least bytes digest missing=""
  while IFS='|' read -r -u 3 task file address columns least bytes digest; do
    wanted "$task" || continue
    obtain "$task" "$file" "$address" "$columns" "$least" "$bytes" "$digest" || missing+="  $data_dir/$(folder_of "$task")/$file"$'\n'
  done 3< <(files)
  # The archive goes when its three files are there; until then it is kept, so that nothing is fetched twice.
  ! wanted paws || [[ $missing == *"$data_dir/paws/"* ]] || rm -f "$data_dir/paws/$(basename "$PAWSX").part"
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
