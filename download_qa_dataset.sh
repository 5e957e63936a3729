#!/usr/bin/env bash
# Fetches the long documents' data from their official places: TyDi QA v1.0 into data/tydiqa/, and KorQuAD 2.1, which
# is 13 archives for training and 2 for evaluation, into data/korquad_2/{train,dev}/.
#
#   bash download_qa_dataset.sh                          both
#   bash download_qa_dataset.sh tydiqa                   this one (the other is korquad_2)
#   bash download_qa_dataset.sh --korquad_1              both, and KorQuAD 1.0 into data/korquad/
#
#   --data_dir FOLDER    where the task folders are (default: data)
#   --korquad_1          also what scripts/download_data.sh korquad fetches
#   --list               what would be fetched from where, and what is there already
#   --mirror URL         fetch URL/<host>/<path> for https://<host>/<path>; $DATA_MIRROR does the same
#   --retries N          tries for each file (default: 4)
#   --retry_delay SEC    pause between two tries (default: 3)
#
# A transfer that breaks off leaves ARCHIVE.part, which the next try, or the next call, continues. An archive is tested
# before it is unpacked, its files are looked at and counted before they get their names, and only then it is deleted.
# Files that are present and pass the check are not fetched again. Exit code: 0 all there, 1 something is missing, 2 wrong
# arguments.

set -euo pipefail
scripts=$(dirname "${BASH_SOURCE[0]}")/scripts
# shellcheck source=scripts/download.sh
source "$scripts/download.sh"
tasks="" korquad_1=""

TYDIQA=https://storage.googleapis.com/tydiqa/v1.0
KORQUAD_2=https://korquad.github.io/dataset/KorQuAD_2.1

# Least number of examples of each split; the archives of KorQuAD 2.1.
TYDIQA_PARTS="train:166916 dev:18670"
KORQUAD_2_PARTS="train:83486 dev:10165"

archives() { # SPLIT: the names of KorQuAD 2.1's, without .zip
  local number last=1
  [[ $1 == dev ]] || last=12
  for ((number = 0; number <= last; number++)); do printf 'KorQuAD_2.1_%s_%02d\n' "$1" "$number"; done
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

zip_problem() { # FILE
  local reason status=0
  reason=$(page_problem "$1")
  unzip -tqq "$1" </dev/null >/dev/null 2>&1 || status=$?
  if [[ -n $reason ]]; then
    echo "$reason"
  elif ((status > 1)); then # 1: a warning, and whole all the same
    echo "it is no whole zip archive"
  fi
}

obtain_tydiqa() { # SPLIT LEAST: the file is in place and good, or 1
  local name=tydiqa-v1.0-$1.jsonl least=$2 target reason
  target=$data_dir/tydiqa/$name
  if [[ -e $target ]]; then
    reason=$(tydiqa_problem "$least" "$target")
    if [[ -z $reason ]]; then
      echo "have    $target"
      return 0
    fi
    echo "warning: $target is there, but $reason; fetching it (yours will be $name.old)" >&2
  fi
  mkdir -p "$data_dir/tydiqa" || return 1
  archive "$TYDIQA/$name.gz" "$target.gz" gzip_problem || return 1
  if ! gzip -dc "$target.gz" >"$target.part"; then
    rm -f "$target.part"
    echo "refused $target.gz: it cannot be unpacked" >&2
    return 1
  fi
  reason=$(tydiqa_problem "$least" "$target.part")
  if [[ -n $reason ]]; then
    rm -f "$target.part" "$target.gz"
    echo "refused $TYDIQA/$name.gz: $reason" >&2
    return 1
  fi
  if [[ -e $target ]]; then mv "$target" "$target.old" || return 1; fi
  mv "$target.part" "$target" || return 1
  rm -f "$target.gz"
  echo "done    $target"
}

# The files that came out of an archive are listed in FOLDER/.ARCHIVE.list, written when they are all there: a line for each
# with its bytes, its questions and its name. To count the questions again, in 17 GB, would take minutes at every call.

is_unpacked() { # FOLDER ARCHIVE: every file on its list is there, as long as it was
  local bytes _ name
  [[ -s $1/.$2.list ]] || return 1
  while read -r bytes _ name; do
    [[ -f $1/$name && $(wc -c <"$1/$name") -eq "$bytes" ]] || return 1
  done <"$1/.$2.list"
}

obtain_korquad_2() { # SPLIT ARCHIVE: the files of the archive are in place and good, or 1
  local folder=$data_dir/korquad_2/$1 name=$2 address=$KORQUAD_2/$1/$2.zip status=0
  if is_unpacked "$folder" "$name"; then
    echo "have    $folder: all of $name.zip"
    return 0
  fi
  mkdir -p "$folder" || return 1
  archive "$address" "$folder/$name.zip" zip_problem || return 1
  local unpacked=$folder/.$name.unpacked
  rm -rf "$unpacked" || return 1
  unzip -qq -o "$folder/$name.zip" -d "$unpacked" </dev/null || status=$?
  if ((status > 1)); then # it is whole, so the disk may be full: the archive stays
    rm -rf "$unpacked"
    echo "refused $folder/$name.zip: it cannot be unpacked" >&2
    return 1
  fi
  status=0
  move_in "$unpacked" "$folder" "$name" || status=1
  rm -rf "$unpacked" "$folder/$name.zip"
  ((status)) || echo "done    $folder: all of $name.zip"
  return $status
}

move_in() { # UNPACKED FOLDER ARCHIVE: moves the JSON files in, if all are good, and makes the list of them
  local unpacked=$1 folder=$2 list=$1/.list file name reason
  while IFS= read -r -u 3 file; do
    name=$(basename "$file")
    reason=$(squad_problem 1 "$file")
    # Under one name the second would replace the first.
    if grep -qs " $name\$" "$folder"/.KorQuAD*.list "$list" && ! grep -qs " $name\$" "$folder/.$3.list"; then
      reason="another archive, or folder of it, has a file of that name"
    fi
    if [[ -n $reason ]]; then
      echo "refused $name of $3.zip: $reason" >&2
      return 1
    fi
    echo "$(($(wc -c <"$file"))) $(questions_in "$file") $name" >>"$list" || return 1
  done 3< <(find "$unpacked" -name '*.json' ! -path '*/__MACOSX/*' ! -name '.*' | sort)
  if [[ ! -s $list ]]; then
    echo "refused $3.zip: it has no JSON file" >&2
    return 1
  fi
  while IFS= read -r -u 3 file; do
    mv "$file" "$folder/" || return 1
  done 3< <(find "$unpacked" -name '*.json' ! -path '*/__MACOSX/*' ! -name '.*' | sort)
  mv "$list" "$folder/.$3.list"
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
      for name in $(archives "${part%:*}"); do
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
    --retry_delay "$retry_delay" "$@" korquad
}

main() {
  local part split name missing="" lacking status=0
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
      for name in $(archives "$split"); do
        obtain_korquad_2 "$split" "$name" || lacking+="  $data_dir/korquad_2/$split: $name.zip"$'\n'
      done
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
