# What download_data.sh and ../download_qa_dataset.sh share: options, transfers, and checks of what arrived. Sourced.
#
# A transfer goes into FILE.part, which the next try, or the next call, continues. Whoever sources this defines main,
# list and argument (WORD: takes a word of the command line that is no shared option), and calls run "$@".
# shellcheck shell=bash

set -euo pipefail
export LC_ALL=C # bytes, not characters: tr on macOS refuses Korean text cut off in the middle of a letter

# shellcheck disable=SC2034 # data_dir is the scripts'
data_dir=data mirror=${DATA_MIRROR:-} retries=4 retry_delay=3 action=main progress=--silent resumed=""

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

sha256() { # FILE
  if command -v sha256sum >/dev/null; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d ' ' -f 1
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

gzip_problem() { # FILE
  local reason
  reason=$(page_problem "$1")
  if [[ -n $reason ]]; then
    echo "$reason"
  elif ! gzip -t "$1" 2>/dev/null; then
    echo "it is no whole gzip archive"
  fi
}

fetch() { # ADDRESS PART: continues PART until it is whole; sets `resumed` if it did not start from nothing
  local address=$1 part=$2 try status answer
  [[ -z $mirror ]] || address=${mirror%/}/${address#https://}
  for ((try = 1; try <= retries; try++)); do
    ((try == 1)) || sleep "$retry_delay"
    [[ ! -s $part ]] || resumed=yes
    status=0
    answer=$(curl --fail --location "$progress" --show-error --connect-timeout 20 --speed-limit 100 --speed-time 60 \
      --continue-at - --output "$part" --write-out '%{http_code}' "$address") || status=$?
    case $status:$answer in
      0:*) return 0 ;;
      # The server has less than PART, or cannot continue: PART is of no use.
      22:416 | 33:* | 36:*) rm -f "$part" ;;
      22:408 | 22:429 | 22:5*) ;; # may pass
      22:* | 1:* | 3:* | 23:*) break ;; # not there, no such kind of address, disk full: trying again changes nothing
    esac
  done
  [[ -s $part ]] || rm -f "$part"
  return 1
}

download() { # ADDRESS PART SHA256 CHECK...: fetches PART and looks at it with CHECK... PART
  local address=$1 part=$2 digest=$3 reason attempt
  shift 3
  for attempt in first last; do
    resumed=
    fetch "$address" "$part" || return 1
    reason=$("$@" "$part")
    if [[ -z $reason && $attempt == first && -n $resumed && $digest != - && $(sha256 "$part") != "$digest" ]]; then
      reason="its two parts do not fit together"
    fi
    [[ -n $reason ]] || return 0
    rm -f "$part"
    # The first part may be of an older version of the file, or of an error page.
    [[ $attempt == first && -n $resumed ]] || break
    echo "resumed $address, but $reason; once more from the start" >&2
  done
  echo "refused $address: $reason" >&2
  return 1
}

archive() { # ADDRESS FILE CHECK...: the archive is in place, and CHECK... FILE finds it whole, or 1
  local address=$1 file=$2 reason
  shift 2
  if [[ -e $file ]]; then
    reason=$("$@" "$file")
    [[ -n $reason ]] || return 0
    # It may come from an interrupted transfer by another program; if the rest does not fit, download() starts anew.
    echo "warning: $file is there, but $reason; fetching the rest of it" >&2
    if [[ -s $file.part ]]; then rm -f "$file"; else mv "$file" "$file.part" || return 1; fi
  fi
  # An interrupted call may have left the whole archive under its .part name.
  if [[ ! -s $file.part || -n $("$@" "$file.part") ]]; then
    echo "fetch   $address"
    download "$address" "$file.part" - "$@" || return 1
  fi
  mv "$file.part" "$file"
}
