# What download_data.sh and ../download_qa_dataset.sh share: options, transfers, and checks of what arrived. Sourced.
#
# A transfer goes into FILE.part, which the next try, or the next call, continues. Files named *.part are the scripts'
# own; every other file is the user's, and is never overwritten, changed or deleted. Whoever sources this defines main,
# list and argument (WORD: takes a word of the command line that is no shared option), and calls run "$@".
#
# Every file has a known number of BYTES and a known DIGEST: a sha256, or git:HASH, the name that git gives to the
# content. A file with a different digest is refused, unless --accept_changed is given and its form is right. It may be
# at most GROWTH times as long as the known file, and an archive may unpack to at most UNPACKED times the known BYTES.
# shellcheck shell=bash

set -euo pipefail
export LC_ALL=C # bytes, not characters: tr on macOS refuses Korean text cut off in the middle of a letter

readonly GROWTH=2 UNPACKED=20

# shellcheck disable=SC2034 # data_dir is the scripts'
data_dir=data mirror=${DATA_MIRROR:-} retries=4 retry_delay=3 action=main progress=--silent
accept_changed="" protocols="=https"
# What fetch (resumed), look_at (reason, changed) and archive (whole) say beside their exit code.
resumed="" reason="" changed="" whole=""

die() { # MESSAGE: wrong arguments or a machine that cannot do it
  echo "${0##*/}: $1" >&2
  exit 2
}

need() { # PROGRAM...
  local program
  for program in "$@"; do
    command -v "$program" >/dev/null || die "$program is needed and not installed"
  done
}

run() { # WORDS OF THE COMMAND LINE: sets the options, and does what they ask for
  while (($#)); do
    if [[ $1 == --*=* ]]; then set -- "${1%%=*}" "${1#*=}" "${@:2}"; fi
    case $1 in
      --data_dir | --mirror | --retries | --retry_delay)
        (($# > 1)) && [[ -n $2 ]] || die "$1 needs a value"
        printf -v "${1#--}" '%s' "$2"
        shift
        ;;
      --list) action=list ;;
      --accept_changed) accept_changed=yes ;;
      -h | --help)
        sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
      *) argument "$1" ;;
    esac
    shift
  done
  [[ $retries =~ ^[1-9][0-9]*$ ]] || die "--retries must be a whole number from 1, not $retries"
  [[ $retry_delay =~ ^[0-9]+$ ]] || die "--retry_delay must be a whole number of seconds, not $retry_delay"
  case $mirror in
    '' | https://*) ;;
    http://*) protocols="=http,https" ;;
    *) die "the mirror must begin with https:// or http://, unlike $mirror" ;;
  esac
  need curl gzip tar awk
  if [[ -t 2 ]]; then progress=--progress-bar; fi
  "$action"
}

end() { # MISSING: the files, one a line, that are not there now
  if [[ -n $1 ]]; then
    printf 'missing:\n%sThe same command again goes on from here.\n' "$1" >&2
    exit 1
  fi
}

state() { # FILE
  if [[ -e $1 ]]; then echo "there"; elif [[ -s $1.part ]]; then echo "in part"; else echo "missing"; fi
}

is_there() { # FILE: also as a symbolic link that leads nowhere
  [[ -e $1 || -L $1 ]]
}

old_name() { # FILE: the first free one of FILE.old, FILE.old2, ...
  local name=$1.old number=1
  while is_there "$name"; do
    number=$((number + 1))
    name=$1.old$number
  done
  echo "$name"
}

give_name() { # PART FILE: a file that has the name already is set aside
  if is_there "$2"; then mv "$2" "$(old_name "$2")" || return 1; fi
  mv "$1" "$2"
}

bytes_of() { # FILE
  echo $(($(wc -c <"$1")))
}

sha() { # 1 OR 256: of standard input
  if command -v "sha$1sum" >/dev/null; then "sha$1sum"; else shasum -a "$1"; fi | cut -d ' ' -f 1
}

has_digest() { # DIGEST FILE
  case $1 in
    git:*) [[ $({ printf 'blob %d\0' "$(bytes_of "$2")" && cat "$2"; } | sha 1) == "${1#git:}" ]] ;;
    *) [[ $(sha 256 <"$2") == "$1" ]] ;;
  esac
}

look_at() { # FILE DIGEST CHECK...: `changed` is set if its digest differs, and `reason` to why it is not taken, if so
  local file=$1 digest=$2
  shift 2
  changed="" reason=""
  ! has_digest "$digest" "$file" || return 0
  changed=yes reason=$("$@" "$file")
  if [[ -z $reason && -z $accept_changed ]]; then
    reason="its digest is not the known one (--accept_changed takes it all the same)"
  fi
}

# Functions named *_problem say what is wrong with a file, and nothing if it is good.

page_problem() { # FILE: it is empty or a web page
  local start
  [[ -s $1 ]] || { echo "it is empty"; return; }
  start=$(head -c 512 "$1" | tr -d '\000' | tr '[:upper:]' '[:lower:]')
  case $start in
    *'<!doctype html'* | *'<html'* | *'<head'* | '<?xml'*) echo "it is a web page, not data" ;;
  esac
}

questions_in() { # FILE: how many it has. Cut into lines first: a file of a gigabyte may be a single line
  tr ',{' '\n\n' <"$1" | { grep -c '^[[:space:]]*"question"[[:space:]]*:' || true; }
}

squad_problem() { # LEAST FILE: of a JSON file with questions
  local questions
  if [[ $(head -c 1 "$2") != "{" || $(tail -c 3 "$2" | tr -d ' \r\n' | tail -c 1) != "}" ]]; then
    echo "it is no whole JSON object"
    return
  fi
  questions=$(questions_in "$2")
  if ((questions < $1)); then echo "it has $questions questions, fewer than $1"; fi
}

# Nothing is written to the disk here, and no more than LIMIT bytes are unpacked, whatever the archive says of itself.
unpacking_problem() { # LIMIT KIND WARNING COMMAND...: of what COMMAND unpacks to its output; it exits with WARNING or 0
  local limit=$1 kind=$2 warning=$3 size status=0
  shift 3
  size=$("$@" 2>/dev/null </dev/null | head -c $((limit + 1)) | wc -c; exit "${PIPESTATUS[0]}") || status=$?
  if ((size > limit)); then
    echo "it unpacks to more than $limit bytes"
  elif ((status != 0 && status != warning)); then
    echo "it is no whole $kind archive"
  fi
}

gzip_problem() { # BYTES FILE
  local problem
  problem=$(page_problem "$2")
  if [[ -n $problem ]]; then echo "$problem"; else unpacking_problem $((UNPACKED * $1)) gzip 0 gzip -dc "$2"; fi
}

fetch() { # ADDRESS PART BYTES: continues PART until it is whole; sets `resumed` if it did not start from nothing
  local address=$1 part=$2 limit=$((GROWTH * $3)) try status answer
  [[ -z $mirror ]] || address=${mirror%/}/${address#https://}
  # curl would follow a link, and no more fits behind a PART that is too long.
  if [[ -L $part || (-s $part && $(bytes_of "$part") -gt $limit) ]]; then rm "$part" || return 1; fi
  for ((try = 1; try <= retries; try++)); do
    ((try == 1)) || sleep "$retry_delay"
    [[ ! -s $part ]] || resumed=yes
    status=0
    # curl's own --max-filesize is no limit where the server does not say how long the file is.
    answer=$(
      ulimit -S -f $((limit / 1024 + 1))
      trap '' XFSZ # writing on is an error then, and no signal
      curl --fail --location --proto "$protocols" --proto-redir "$protocols" "$progress" --show-error \
        --connect-timeout 20 --speed-limit 100 --speed-time 60 \
        --continue-at - --output "$part" --write-out '%{http_code}' "$address"
    ) || status=$?
    if [[ -s $part && $(bytes_of "$part") -gt $limit ]]; then
      rm -f "$part"
      echo "refused $1: it has more than $limit bytes" >&2
      return 1
    fi
    case $status:$answer in
      0:*) return 0 ;;
      # The server has less than PART, or cannot continue: PART is of no use.
      22:416 | 33:* | 36:*) rm -f "$part" ;;
      22:408 | 22:429 | 22:5*) ;; # may pass
      # Not there, no such kind of address, disk full: trying again changes nothing.
      22:* | 1:* | 3:* | 23:*) break ;;
    esac
  done
  [[ -s $part ]] || rm -f "$part"
  return 1
}

download() { # ADDRESS PART BYTES DIGEST CHECK...: fetches PART and looks at it with CHECK... PART
  local address=$1 part=$2 bytes=$3 digest=$4 attempt
  shift 4
  for attempt in first last; do
    resumed=
    fetch "$address" "$part" "$bytes" || return 1
    look_at "$part" "$digest" "$@"
    # An archive has checksums of its own, so that its parts fit if it is whole.
    if [[ -z $reason && -n $changed && $attempt == first && -n $resumed && $1 == file_problem ]]; then
      reason="its two parts may not fit together"
    fi
    if [[ -z $reason ]]; then
      [[ -z $changed ]] ||
        echo "warning: $address looks right, but its digest is not the known one; it is taken" >&2
      return 0
    fi
    rm -f "$part"
    # The first part may be of an older version of the file, or of an error page.
    [[ $attempt == first && -n $resumed ]] || break
    echo "resumed $address, but $reason; once more from the start" >&2
  done
  echo "refused $address: $reason" >&2
  return 1
}

# It is FILE, if the user has a good one there, and else FILE.part, which the caller deletes when it is unpacked.
archive() { # ADDRESS FILE BYTES DIGEST CHECK...: sets `whole` to the archive, which is good, or 1
  local address=$1 file=$2 bytes=$3 digest=$4
  shift 4
  if [[ -f $file ]]; then
    look_at "$file" "$digest" "$@"
    whole=$file
    [[ -n $reason ]] || return 0
    echo "warning: $file is there, but $reason; it stays as it is, and is fetched as ${file##*/}.part" >&2
    # It may be what another program fetched until it was interrupted; if the rest does not fit, download() starts anew.
    if [[ ! -s $file.part && $(bytes_of "$file") -lt $bytes ]]; then cp "$file" "$file.part" || return 1; fi
  fi
  whole=$file.part
  # An interrupted call may have left all of it.
  if [[ -s $whole ]]; then
    look_at "$whole" "$digest" "$@"
    [[ -n $reason ]] || return 0
  fi
  echo "fetch   $address"
  download "$address" "$whole" "$bytes" "$digest" "$@"
}
