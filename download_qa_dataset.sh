#!/usr/bin/env bash
# Fetches the long documents' data from their official places: TyDi QA v1.0 into data/tydiqa/, and KorQuAD 2.1, which
# is 13 archives for training and 2 for evaluation, into data/korquad_2/{train,dev}/.
#
#   bash download_qa_dataset.sh                          both
#   bash download_qa_dataset.sh tydiqa                   this one (the other is korquad_2)
#   bash download_qa_dataset.sh --korquad_1              both, and KorQuAD 1.0 into data/korquad/
#
#   --data_dir FOLDER    where the task folders are (default: data)
#   --accept_changed     take an archive that looks right, though its digest is not the known one
#   --korquad_1          also what scripts/download_data.sh korquad fetches
#   --list               what would be fetched from where, and what is there already
#   --mirror URL         fetch URL/<host>/<path> for https://<host>/<path>; $DATA_MIRROR does the same
#   --retries N          tries for each file (default: 4)
#   --retry_delay SEC    pause between two tries (default: 3)
#
# A transfer that breaks off leaves ARCHIVE.part, which the next try, or the next call, continues. An archive is
# unpacked only if its digest is the known one or, with --accept_changed, if it is whole and not far larger than the
# known one. Its files are looked at and counted before they get their names, and only then ARCHIVE.part is deleted. An
# archive that you put there yourself, without .part, is used and stays. Files that are present and pass the check are
# not fetched again; those that do not become FILE.old (FILE.old2, ...). Exit code: 0 all there, 1 something is missing,
# 2 wrong arguments.

set -euo pipefail
scripts=$(dirname "${BASH_SOURCE[0]}")/scripts
# shellcheck source=scripts/download.sh
source "$scripts/download.sh"
tasks="" korquad_1=""

TYDIQA=https://storage.googleapis.com/tydiqa/v1.0
KORQUAD_2=https://korquad.github.io/dataset/KorQuAD_2.1

# Least number of examples of each split.
TYDIQA_PARTS="train:166916 dev:18670"
KORQUAD_2_PARTS="train:83486 dev:10165"

# Name of the archive without .gz or .zip, its bytes, its sha256. These are in the checksums of the `datasets` library
# (datasets/tydiqa and squad_kor_v2, dataset_infos.json until 2.x), and those of KorQuAD 2.1 also in tfds-korean's. Both
# name the files in the repository from which korquad.github.io is served.
known() {
  cat <<'END'
tydiqa-v1.0-train.jsonl 1729651634 8eeedfee7593db7c3637d65a3d5c67b82486137ac6ac3ea7d08be9a64d71b629
tydiqa-v1.0-dev.jsonl 160614310 b52b8d4db1850b1549e960219e6056d8139986f8caf1b5e8b4eecadabed24413
KorQuAD_2.1_train_00 96161084 98918d10e3e08bf6b34b50d17cd7f7438d5a577a8089d02698d16a151424a36a
KorQuAD_2.1_train_01 92163603 0a8a59ee82e92e9509c5dbf7d98a31c007a3693afb818e37c60ddacf7f48c4b3
KorQuAD_2.1_train_02 91681447 7035a35daac0c210b4754fc6a2885442929754db35e33b40d7c912706c66b9bc
KorQuAD_2.1_train_03 94792676 4a61272d13e535f73fa20f2d1619b895adb763d8fa7cf02d813b733e7f702562
KorQuAD_2.1_train_04 94470762 35834a74b3486eaa32712c689bccaab0c841c3ee252560e754245d3ed89e1c3a
KorQuAD_2.1_train_05 93427959 5ea9b2975451c5a67bc172690a56a6e7a9e87b4001d3d1d684cb1336958a3a3b
KorQuAD_2.1_train_06 93224892 87872acd46c2a8291a176826ad7eb23f3a6cf1db05bb27566d2eac1199a9091b
KorQuAD_2.1_train_07 92550803 a615c0ebba60fc9b55fa602973d504f76d0273592c22f63b7f202655c1bb10bf
KorQuAD_2.1_train_08 93684404 fa3955e23eab859819990edde3dd23308740cf94c3839fb538f30b1126117a39
KorQuAD_2.1_train_09 94028022 b3b7ec508fbacaf6a5c12065e1d061cbfd8990bf2ae4c940a0a8d841294c2c1c
KorQuAD_2.1_train_10 93432479 b7e8e44e43ec63514265e2202f73a4a6ce46f7226cc5662efc6a2ab92161a462
KorQuAD_2.1_train_11 94500610 f6483e1e4b2577603e4fc881ec1651ca2ea5764a4b0f7e5eb59007ed9cc4bbae
KorQuAD_2.1_train_12 99301520 84c4b6391a07bc1fdcc70d7194bda0e65edc796ae9b4e184a58c58d6973af7ad
KorQuAD_2.1_dev_00 93536216 4a0b25f896f333dc470e87b83cef874a9f7ea9a3df4c83f5ce8d5de6d71b07db
KorQuAD_2.1_dev_01 56806828 bf76fe7c684409151f92eacc56d551d0471477c47959b916c002ae39666caf59
END
}

archives() { # SPLIT: KorQuAD 2.1's, as `known` has them
  known | grep "^KorQuAD_2.1_$1_"
}

tydiqa_problem() { # LEAST FILE: of a file with one JSON object a line
  local reason lines
  reason=$(page_problem "$2")
  if [[ -n $reason ]]; then
    echo "$reason"
  elif [[ $(head -n 1 "$2") != '{'*'"document_plaintext"'* ]]; then
    echo "its first line is no example of TyDi QA"
  elif [[ $(tail -c 3 "$2" | tr -d ' \r\n' | tail -c 1) != "}" ]]; then
    echo "its last line is cut off"
  else
    lines=$(awk 'END { print NR }' "$2")
    if ((lines < $1)); then echo "it has $lines lines, fewer than $1"; fi
  fi
}

zip_problem() { # BYTES FILE
  local problem
  problem=$(page_problem "$2")
  if [[ -n $problem ]]; then
    echo "$problem"
  else # 1: a warning, and whole all the same. A password, so that unzip does not ask for one
    unpacking_problem $((UNPACKED * $1)) zip 1 unzip -p -P none "$2"
  fi
}

obtain_tydiqa() { # SPLIT LEAST: the file is in place and good, or 1
  local name=tydiqa-v1.0-$1.jsonl least=$2 target bytes digest
  target=$data_dir/tydiqa/$name
  if is_there "$target"; then
    reason=$(tydiqa_problem "$least" "$target")
    if [[ -z $reason ]]; then
      echo "have    $target"
      return 0
    fi
    echo "warning: $target is there, but $reason; fetching it (yours will be $(basename "$(old_name "$target")"))" >&2
  fi
  mkdir -p "$data_dir/tydiqa" || return 1
  read -r _ bytes digest < <(known | grep "^$name ")
  archive "$TYDIQA/$name.gz" "$target.gz" "$bytes" "$digest" gzip_problem "$bytes" || return 1
  rm -f "$target.part"
  if ! gzip -dc "$whole" >"$target.part"; then
    rm -f "$target.part"
    echo "refused $whole: it cannot be unpacked" >&2
    return 1
  fi
  reason=$(tydiqa_problem "$least" "$target.part")
  if [[ -n $reason ]]; then
    rm -f "$target.part" "$target.gz.part"
    echo "refused $TYDIQA/$name.gz: $reason" >&2
    return 1
  fi
  give_name "$target.part" "$target" || return 1
  rm -f "$target.gz.part"
  echo "done    $target"
}

# The files that came out of an archive are listed in FOLDER/.ARCHIVE.list, written when they are all there: a line for
# each with its bytes, its questions and its name. To count the questions again, in gigabytes, would take minutes.

is_unpacked() { # FOLDER ARCHIVE: every file on its list is there, as long as it was
  local bytes _ name
  [[ -s $1/.$2.list ]] || return 1
  while read -r bytes _ name; do
    [[ -f $1/$name && $(wc -c <"$1/$name") -eq "$bytes" ]] || return 1
  done <"$1/.$2.list"
}

obtain_korquad_2() { # SPLIT ARCHIVE BYTES DIGEST: the files of the archive are in place and good, or 1
  local folder=$data_dir/korquad_2/$1 name=$2 bytes=$3 digest=$4 status=0
  if is_unpacked "$folder" "$name"; then
    echo "have    $folder: all of $name.zip"
    return 0
  fi
  mkdir -p "$folder" || return 1
  archive "$KORQUAD_2/$1/$name.zip" "$folder/$name.zip" "$bytes" "$digest" zip_problem "$bytes" || return 1
  local unpacked=$folder/.$name.unpacked
  rm -rf "$unpacked" && mkdir "$unpacked" || return 1
  { unpack_json "$unpacked" "$folder" "$name" && move_in "$unpacked" "$folder" "$name"; } || status=$?
  rm -rf "$unpacked"
  ((status == 2)) || rm -f "$folder/$name.zip.part"
  ((status == 0)) || return 1
  echo "done    $folder: all of $name.zip"
}

# Only the content of a file is taken from the archive: no folder, no mode, and of a symbolic link only the name it
# leads to, which is no JSON. Exit code: 1 if a file is not good, 2 if the disk is full.
unpack_json() { # UNPACKED FOLDER ARCHIVE: the JSON files, if all are good, and a list of them
  local unpacked=$1 folder=$2 list=$1/.list member name status
  while IFS= read -r -u 3 member; do
    name=${member##*/} reason="" status=0
    [[ $name == *.json && $name != .* && /$member != */__MACOSX/* ]] || continue
    if [[ $member == [-/]* || /$member == */../* || $member == *[][*?\\]* ]]; then
      reason="no file of the data has such a name"
    # Under one name the second would replace the first.
    elif { grep -qs " $name\$" "$folder"/.KorQuAD*.list && ! grep -qs " $name\$" "$folder/.$3.list"; } ||
      [[ -e $unpacked/$name ]]; then
      reason="another archive, or folder of it, has a file of that name"
    else
      unzip -p -P none "$whole" "$member" </dev/null >"$unpacked/$name" || status=$?
      if ((status > 1)); then # the archive is whole, so the disk may be full: the archive stays
        echo "refused $whole: it cannot be unpacked" >&2
        return 2
      fi
      reason=$(squad_problem 1 "$unpacked/$name")
    fi
    if [[ -n $reason ]]; then
      echo "refused $member of $3.zip: $reason" >&2
      return 1
    fi
    echo "$(bytes_of "$unpacked/$name") $(questions_in "$unpacked/$name") $name" >>"$list" || return 2
  done 3< <(unzip -Z1 "$whole" | sort)
  if [[ ! -s $list ]]; then
    echo "refused $3.zip: it has no JSON file" >&2
    return 1
  fi
}

move_in() { # UNPACKED FOLDER ARCHIVE: gives the files their names, and then the list
  local file target
  for file in "$1"/*.json; do
    target=$2/$(basename "$file")
    if [[ ! -L $target ]] && cmp -s "$file" "$target"; then continue; fi
    if is_there "$target"; then
      echo "warning: $target is not the file of the archive (yours is $(basename "$(old_name "$target")") now)" >&2
    fi
    give_name "$file" "$target" || return 2
  done
  mv "$1/.list" "$2/.$3.list" || return 2
}

count_korquad_2() { # SPLIT LEAST: 1 where the files of all its archives have too few questions together
  local folder=$data_dir/korquad_2/$1 questions file name
  questions=$(cat "$folder"/.KorQuAD*.list | awk '{ sum += $2 } END { print sum + 0 }')
  if ((questions < $2)); then
    echo "warning: all archives are unpacked in $folder, but they have $questions questions, fewer than $2" >&2
    return 1
  fi
  echo "have    $folder: $questions questions"
  for file in "$folder"/*.json; do
    name=$(basename "$file")
    grep -q " $name\$" "$folder"/.KorQuAD*.list ||
      echo "warning: $file is of no archive, but whatever reads the folder will read it too" >&2
  done
}

has_all_of_another_hand() { # SPLIT LEAST: somebody else unpacked the archives there, and all questions are there
  local folder=$data_dir/korquad_2/$1 file questions=0
  ! compgen -G "$folder/.KorQuAD*.list" >/dev/null || return 1
  compgen -G "$folder/*.json" >/dev/null || return 1
  for file in "$folder"/*.json; do
    [[ -z $(squad_problem 1 "$file") ]] || return 1
    questions=$((questions + $(questions_in "$file")))
  done
  ((questions >= $2)) || return 1
  echo "have    $folder: $questions questions"
}

wanted() { # TASK
  [[ -z $tasks || " $tasks " == *" $1 "* ]]
}

list() {
  local part name file folder now
  if wanted tydiqa; then
    for part in $TYDIQA_PARTS; do
      name=tydiqa-v1.0-${part%:*}.jsonl file=$data_dir/tydiqa/tydiqa-v1.0-${part%:*}.jsonl
      if [[ -e $file ]]; then now=there; else now=$(archive_state "$file.gz"); fi
      echo "tydiqa  $file  $now  $TYDIQA/$name.gz"
    done
  fi
  if wanted korquad_2; then
    for part in $KORQUAD_2_PARTS; do
      folder=$data_dir/korquad_2/${part%:*}
      for name in $(archives "${part%:*}" | cut -d ' ' -f 1); do
        if is_unpacked "$folder" "$name"; then now=there; else now=$(archive_state "$folder/$name.zip"); fi
        echo "korquad_2  $folder  $now  $KORQUAD_2/${part%:*}/$name.zip"
      done
    done
  fi
  [[ -z $korquad_1 ]] || hand_over --list
}

archive_state() { # ARCHIVE: of one whose files are not in place
  if [[ -e $1 ]]; then echo "not unpacked"; else state "$1"; fi
}

hand_over() { # FLAG...: KorQuAD 1.0 is a short task's
  bash "$scripts/download_data.sh" --data_dir "$data_dir" ${mirror:+--mirror "$mirror"} --retries "$retries" \
    --retry_delay "$retry_delay" ${accept_changed:+--accept_changed} "$@" korquad
}

main() {
  local part split name bytes digest missing="" lacking status=0
  if wanted korquad_2; then need unzip; fi
  if wanted tydiqa; then
    for part in $TYDIQA_PARTS; do
      obtain_tydiqa "${part%:*}" "${part#*:}" || missing+="  $data_dir/tydiqa/tydiqa-v1.0-${part%:*}.jsonl"$'\n'
    done
  fi
  if wanted korquad_2; then
    for part in $KORQUAD_2_PARTS; do
      split=${part%:*} lacking=""
      ! has_all_of_another_hand "$split" "${part#*:}" || continue
      while read -r -u 4 name bytes digest; do
        obtain_korquad_2 "$split" "$name" "$bytes" "$digest" ||
          lacking+="  $data_dir/korquad_2/$split: $name.zip"$'\n'
      done 4< <(archives "$split")
      missing+=$lacking
      if [[ -z $lacking ]] && ! count_korquad_2 "$split" "${part#*:}"; then
        missing+="  $data_dir/korquad_2/$split: some questions"$'\n'
      fi
    done
  fi
  if [[ -n $korquad_1 ]]; then hand_over || status=$?; fi
  end "$missing"
  return "$status"
}

argument() { # WORD: a task, or a flag of this script alone
  case $1 in
    --korquad_1) korquad_1=yes ;;
    -*) die "unknown flag $1 (--help lists them)" ;;
    tydiqa) tasks+=" tydiqa" ;;
    korquad_2 | korquad-2) tasks+=" korquad_2" ;;
    *) die "unknown task $1 (there is: tydiqa korquad_2; for others scripts/download_data.sh)" ;;
  esac
}

run "$@"
