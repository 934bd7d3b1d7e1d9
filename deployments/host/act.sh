#!/bin/sh
# The host's half of Aureus. One act per call, one JSON line on stdout, nothing installed on the host.
#
#   sh act-DIGEST ROOT NONCE VERB [--name value]...
#
# Reading verbs: facts status workflow logs diagnose. Changing verbs carry --fence and --key: prepare activate rollback
# once adopt live cool stop prune put. `beside` has a key and no fence: what it runs is no part of a deployment. Layout below ROOT: releases/CONTENT, slots/SLOT -> ../releases/CONTENT, current -> slots/SLOT,
# shared/, .aureus/{fence,ledger,lock,acts/KEY/,beside/KEY/,env/CONTENT,placed/}. The ledger has lines `key fence verb content result epoch`.
# Exit status: 0 done, already or running; 10 refused; 11 failed; 12 timed out.
set -u
umask 022
LC_ALL=C
PATH=${PATH:-/usr/bin:/bin}:/usr/sbin:/sbin
export LC_ALL PATH

tab=$(printf '\t')
NEEDED='flock setsid timeout sha256sum tar gzip mktemp stat df find xargs sort sed tail head tr od base64 readlink realpath sync'

# --- answers -----------------------------------------------------------------------------------------------------

text() { # TEXT [BYTES]: a JSON string of its last BYTES bytes
  separator=$(printf '\036')
  escape=$(printf '\033')
  printf '"'
  printf '%s' "$1" | tail -c "${2:-2048}" | tr -d '\000-\010\013-\032\034-\037\177' | tr '\n' '\036' |
    sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/	/\\t/g' -e "s/$separator/\\\\n/g" -e "s/$escape/\\\\u001b/g"
  printf '"'
}

finish() { # STATE CODE SENTENCE [DATA]: say how the act ended, keep it for `status`, leave
  data=${4:-}
  [ -n "$data" ] || data='{}'
  body=$(printf '"state":"%s","code":"%s","sentence":%s,"data":%s}' "$1" "$2" "$(text "$3")" "$data")
  if [ -n "$registered" ]; then
    printf '%s\n' "$body" >"$registered/result.new" && mv -f "$registered/result.new" "$registered/result"
    rm -f "$registered/leader"
  fi
  printf '{"nonce":"%s",%s\n' "$nonce" "$body"
  case $1 in
    refused) exit 10 ;;
    failed) exit 11 ;;
    timed_out) exit 12 ;;
  esac
  exit 0
}

refuse() { finish refused "$@"; }
fail() { finish failed "$@"; }

fail_write() { # ERRORS WHAT: a full disk is not worth a retry, anything else is
  case $1 in
    *'No space left'* | *'quota exceeded'*) refuse no_space "no space left on the device while $2" ;;
  esac
  fail write_failed "$2 failed: $1"
}

# --- arguments ---------------------------------------------------------------------------------------------------

is_number() {
  case $1 in '' | *[!0-9]*) return 1 ;; esac
  [ ${#1} -le 18 ]
}

is_word() {
  case $1 in '' | [!0-9A-Za-z]* | *[!0-9A-Za-z._:@+=-]*) return 1 ;; esac
  [ ${#1} -le 200 ]
}

parse() {
  fence=0 key='' content='' slot=main expected='' deadline=60 wait=10 sha256='' size=0 unpacked=0 files=0 workflow=0 env=''
  unit='' restart='' halt='' port='' log='' lines=50 keep=' ' path='' again=no command='' base='' copies=0 manifest='' folder=release
  while [ $# -gt 0 ]; do
    [ $# -ge 2 ] || refuse usage "$1 needs a value"
    case $1 in
      --fence) fence=$2 ;; --key) key=$2 ;; --content) content=$2 ;; --slot) slot=$2 ;; --expected) expected=$2 ;;
      --deadline) deadline=$2 ;; --wait) wait=$2 ;; --sha256) sha256=$2 ;; --size) size=$2 ;; --unpacked) unpacked=$2 ;;
      --files) files=$2 ;; --workflow) workflow=$2 ;; --env) env=$2 ;; --unit) unit=$2 ;; --restart) restart=$2 ;; --port) port=$2 ;;
      --log) log=$2 ;; --lines) lines=$2 ;; --keep) keep="$keep$2 " ;; --path) path=$2 ;;
      --again) again=$2 ;; --halt) halt=$2 ;; --command) command=$2 ;; --folder) folder=$2 ;;
      --base) base=$2 ;; --copies) copies=$2 ;; --manifest) manifest=$2 ;;
      *) refuse usage "unknown option $1" ;;
    esac
    shift 2
  done
  for number in "$fence" "$deadline" "$wait" "$size" "$unpacked" "$files" "$workflow" "$lines" "${port:-0}" "${env:-0}" "$copies"; do
    is_number "$number" || refuse usage "not a number: $number"
  done
  for word in "${key:-k}" "${content:-c}" "$slot" "${expected:-e}" "${unit:-u}" "${base:-b}"; do
    is_word "$word" || refuse usage "not an acceptable name: $word"
  done
}

# --- processes ---------------------------------------------------------------------------------------------------

stat_of() { # PID: sets p_state p_session p_start, fails when there is no such process
  { read -r stat_line <"/proc/$1/stat"; } 2>/dev/null || return 1
  # shellcheck disable=SC2086 # the fields are numbers, splitting them is the point
  set -- ${stat_line##*) }
  p_state=$1 p_session=$4
  shift 19
  p_start=$1
}

leader_of() { # ACT: sets l_pid l_start l_token, fails unless one was written since the machine booted
  { read -r l_pid l_start l_boot l_token <"$1/leader"; } 2>/dev/null && [ "$l_boot" = "$boot" ]
}

leads() { # ACT: is its leader alive?
  leader_of "$1" && stat_of "$l_pid" && [ "$p_start" = "$l_start" ] && [ "$p_state" != Z ]
}

members() { # ACT: the living processes of its session that are ours to end
  leader_of "$1" || return 0
  read -r own _ </proc/self/stat
  orphaned=yes
  if stat_of "$l_pid"; then
    [ "$p_start" = "$l_start" ] || return 0 # the number was given to somebody else since
    orphaned=
  fi
  for entry in /proc/[0-9]*; do
    pid=${entry#/proc/}
    stat_of "$pid" || continue
    [ "$p_session" = "$l_pid" ] && [ "$p_state" != Z ] && [ "$pid" != "$own" ] || continue
    kill -0 "$pid" 2>/dev/null || continue
    # Without its leader a session's number proves nothing: the environment does.
    [ -z "$orphaned" ] || grep -qzx "AUREUS_ACT=$l_token" "/proc/$pid/environ" 2>/dev/null || continue
    printf '%s ' "$pid"
  done
}

others() { # ACT: its members without this shell, its copies, and the leader that waits for it
  read -r me _ </proc/self/stat
  for pid in $(members "$1"); do
    [ "$pid" = $$ ] || [ "$pid" = "$me" ] || { [ -n "$registered" ] && [ "$pid" = "$session" ]; } || printf '%s ' "$pid"
  done
}

end_others() { # ACT: true when none of them is left; adds to $ended
  left=$(others "$1")
  ended="$ended$left"
  for signal in TERM KILL; do
    tries=0
    while [ -n "$left" ] && [ "$tries" -lt 20 ]; do
      # shellcheck disable=SC2086 # a list of numbers
      [ "$tries" -gt 0 ] || kill -s "$signal" $left 2>/dev/null
      sleep 0.1
      tries=$((tries + 1))
      left=$(others "$1")
    done
  done
  [ -z "$left" ]
}

discard() { # FOLDER: also one whose files forbid it
  chmod -R u+rwX "$1" 2>/dev/null
  rm -rf "$1"
}

sweep() { # ACT: what it left half made
  rm -f "$1/leader"
  for rest in "$root/releases/.tmp-${1##*/}."*; do [ ! -d "$rest" ] || discard "$rest"; done
}

# --- fence and ledger --------------------------------------------------------------------------------------------

ballast() { # [make]: a little room given up on a full disk, so that a rollback can still keep its books
  if [ "${1:-}" = make ]; then
    [ -e "$state/ballast" ] || head -c 262144 /dev/zero >"$state/ballast" 2>/dev/null
  else
    # shellcheck disable=SC2046 # columns
    set -- $(df -Pk "$state" | tail -n 1)
    [ "$4" -ge 128 ] || rm -f "$state/ballast"
  fi
}

lock() {
  true >>"$state/lock" || fail write_failed "$state/lock cannot be written"
  exec 9>>"$state/lock"
  flock -w 30 9 || fail busy "another act holds $state/lock"
}

unlock() { exec 9>&-; }

highest() {
  number=0
  [ ! -e "$state/fence" ] || read -r number <"$state/fence"
  is_number "$number" || refuse fence_unreadable "$state/fence does not hold a number: look at the disk, then run aureus recover"
  printf '%s' "$number"
}

check_fence() { # under the lock: may this act still do something?
  seen=$(highest) || { printf '%s\n' "$seen"; exit 10; }
  [ -z "$registered" ] || read -r fence <"$registered/fence" # a later try of the same act may have raised it
  [ "$fence" -ge "$seen" ] || refuse stale_fence "fence $fence is lower than $seen, which this host has seen" "{\"fence\":$seen}"
}

raise_fence() { # under the lock: refuse if late, remember the fence, end what came before (but not the act SPARE)
  check_fence
  if [ "$fence" -gt "$seen" ]; then
    { printf '%s\n' "$fence" >"$state/fence.new" && sync "$state/fence.new" && mv -f "$state/fence.new" "$state/fence"; } ||
      fail_write "$(df -P "$state" | tail -n 1)" 'keeping the fence'
  fi
  for act in "$state"/acts/*; do
    [ -f "$act/leader" ] && [ "${act##*/}" != "${1:-}" ] || continue
    read -r of <"$act/fence" || of=0
    [ "$verb" = stop ] || [ "$of" -lt "$fence" ] || [ "${act##*/}" = "$key" ] || continue
    end_others "$act" || fail busy "act ${act##*/} does not end: processes $left" "{\"alive\":$(text "$left")}"
    [ -e "$act/result" ] || printf '"state":"refused","code":"stale_fence","sentence":"ended by fence %s","data":{"fence":%s}}\n' \
      "$fence" "$fence" >"$act/result"
    sweep "$act"
  done
}

register() { # under the lock: from here on a higher fence ends this session
  stat_of $$ || fail no_proc "/proc is not mounted"
  session=$p_session
  stat_of "$session" || fail no_proc "the session of the act has no leader"
  mkdir -p "$acts/$key" || fail_write "$(df -P "$state" | tail -n 1)" 'keeping the act'
  rm -f "$acts/$key/result"
  printf '%s\n' "$fence" >"$acts/$key/fence"
  printf '%s %s %s %s\n' "$session" "$p_start" "$boot" "${AUREUS_ACT:-none}" >"$acts/$key/leader" ||
    fail_write "$(df -P "$state" | tail -n 1)" 'keeping the act'
  registered=$acts/$key
}

goes_on() { # under the lock: a later try of an act that still runs lets it go on, under the later fence
  leads "$state/acts/$key" || return 0
  raise_fence "$key"
  printf '%s\n' "$fence" >"$state/acts/$key/fence"
  finish running '' "$what goes on"
}

enter() {
  lock
  [ "$verb" != activate-now ] || goes_on
  raise_fence
  register
  trap interrupted TERM INT HUP
  unlock
}

# shellcheck disable=SC2329 # a trap calls it
interrupted() { # by a higher fence, or by our own deadline: take the children along, they may not have listened
  trap '' TERM
  end_others "$registered"
  seen=$(highest) || seen=0
  read -r fence <"$registered/fence"
  if [ "$fence" -gt 0 ] && [ "$seen" -gt "$fence" ]; then
    note stale_fence
    refuse stale_fence "ended by fence $seen"
  fi
  note timed_out
  finish timed_out deadline "the act did not end within $deadline s"
}

note() { # RESULT: one line of the ledger; one short write at the end of the file needs no lock
  printf '%s %s %s %s %s %s\n' "$key" "$fence" "$ledger_verb" "${content:--}" "$1" "$(date +%s)" >>"$state/ledger"
}

noted() { # VERB RESULT: has this key that line?
  [ -f "$state/ledger" ] && grep -q "^$(printf '%s' "$key" | sed 's/[.]/\\./g') [0-9]* $1 [^ ]* $2 " "$state/ledger"
}

apart() { # WORDS: run this file as a session of its own with a deadline, so that it ends even if SSH is lost
  AUREUS_ACT=$key-$fence-$$ setsid -w timeout -k 12 "$deadline" sh "$0" "$root" "$nonce" "$@"
  explain_silence $?
}

explain_silence() { # EXIT: an act that could not answer for itself
  case $1 in 0 | 10 | 11 | 12) exit "$1" ;; esac
  seen=$(highest) || seen=0
  [ "$fence" -eq 0 ] || [ "$seen" -le "$fence" ] || refuse stale_fence "ended by fence $seen" "{\"fence\":$seen}"
  # 137 is also what anybody else's kill -9 looks like.
  if [ "$1" -eq 124 ] || { [ "$1" -eq 137 ] && [ $(($(date +%s) - begun)) -ge "$deadline" ]; }; then
    finish timed_out deadline "the act did not end within $deadline s"
  fi
  fail killed "the act ended without an answer (exit $1)"
}

# --- releases ----------------------------------------------------------------------------------------------------

has_env() { # RELEASE: its variables are there, where it has some
  [ ! -e "$1/.aureus-env" ] || [ -f "$state/env/${1##*/}" ]
}

is_complete() { # RELEASE: every file of its manifest is there, unchanged, and its variables where it has some
  [ -f "$1/.manifest" ] && [ -f "$1/.links" ] && has_env "$1" && (
    cd "$1" && sha256sum --check --quiet --strict .manifest >/dev/null 2>&1 &&
      while IFS=$tab read -r link target; do [ "$(readlink "$link")" = "$target" ] || exit 1; done <.links
  )
}

slot_content() { # the content the slot points to, or nothing
  where=$(readlink "$root/slots/$slot") || return 0
  printf '%s' "${where##*/}"
}

started_content() { # the content that the last finished activation of the slot brought; nothing if one broke off since
  [ -f "$state/ledger" ] || return 0
  last=$(grep " activate@$slot " "$state/ledger" | tail -n 1)
  # shellcheck disable=SC2086 # six words
  set -- $last
  # With --again only this very act counts: what another one started has not become healthy.
  [ "$again" = no ] || [ "${1:-}" = "$key" ] || return 0
  [ "${5:-}" != 'done' ] || printf '%s' "$4"
}

room() { # refuse before the first byte when the release cannot fit
  # shellcheck disable=SC2046 # columns
  set -- $(df -Pk "$root/releases" | tail -n 1)
  need=$((unpacked * 12 / 10 + size))
  [ $(($4 * 1024)) -ge "$need" ] || refuse no_space "$((need / 1048576 + 1)) MiB are needed and $(($4 / 1024)) are free in $root"
  # shellcheck disable=SC2046 # columns
  set -- $(df -Pi "$root/releases" | tail -n 1)
  is_number "$4" && is_number "$2" && [ "$2" -gt 0 ] || return 0 # some file systems do not count inodes
  [ "$4" -gt $((files + 32)) ] || refuse no_inodes "$((files + 32)) inodes are needed and $4 are free in $root"
}

receive() { # NAME BYTES: from stdin into the temporary directory
  errors=$({ head -c "$2" >"$temp/$1"; } 2>&1) || fail_write "$errors" "receiving the $1"
  got=$(stat -c %s "$temp/$1")
  [ "$got" -eq "$2" ] || fail truncated "the $1 broke off after $got of $2 bytes"
}

unpack() { # the archive, open as descriptor 3 and already unlinked: nobody can put another in its place
  # shellcheck disable=SC2046 # four bytes as four words
  set -- $(head -c 4 </proc/self/fd/3 | od -An -tx1)
  form=
  case ${1:-}${2:-}${3:-}${4:-} in
    1f8b*) form=-z ;;
    28b52ffd)
      command -v zstd >/dev/null || refuse missing_tool 'the archive is zstd and this host has no zstd: send gzip'
      form=--zstd ;;
  esac
  # The directory is new and private and GNU tar refuses `..` and writing through links, so one pass is enough:
  # what it said and what it left are checked before anything gets a name.
  # shellcheck disable=SC2086 # no option when the archive is plain
  errors=$(tar -x -vv --numeric-owner $form --no-same-owner --no-same-permissions --no-overwrite-dir -C "$temp/tree" -f - \
    </proc/self/fd/3 2>&1 >"$temp/members") || {
    case $errors in *"contains '..'"*) refuse unsafe_archive "a member leads out of the archive" ;; esac
    case $errors in *'No space left'* | *'Wrote only'* | *'quota exceeded'*) fail_write "No space left: $errors" 'unpacking' ;; esac
    refuse unsafe_archive "tar could not unpack the archive: $errors"
  }
  [ -z "$base" ] || copy_unchanged
  ! grep -q '^[^-dl]' "$temp/members" || refuse unsafe_archive 'a member is neither file, folder nor symbolic link'
  ! grep -q '^.[^ ]*[sS]' "$temp/members" || refuse unsafe_archive 'a member is setuid or setgid'
  ! sed -E 's/^([^ ]+ +){5}//' "$temp/members" | grep -q '^/' || refuse unsafe_archive 'a member has an absolute name'
  odd=$(find "$temp/tree" -mindepth 1 \( ! -type f ! -type d ! -type l -o -type f -links +1 -o -type f -perm /6000 \
    -o -name '*[[:cntrl:]\\]*' \) -print -quit)
  [ -z "$odd" ] || refuse unsafe_archive "the archive left something that is not allowed: ${odd#"$temp/tree/"}"
  find "$temp/tree" -type l >"$temp/links"
  while IFS= read -r link; do
    case $(readlink "$link") in /* | *[[:cntrl:]]*) refuse unsafe_archive "a link is absolute or not plain text: ${link#"$temp/tree/"}" ;; esac
    case $(realpath -m "$link") in "$temp/tree" | "$temp/tree/"*) ;; *) refuse unsafe_archive "a link leads out: ${link#"$temp/tree/"}" ;; esac
  done <"$temp/links"
}

copy_unchanged() { # what the base has alike; that it is alike is proven by the manifest in the end
  errors=$(cd "$root/releases/$base" && tr '\n' '\0' <"$temp/copies" | xargs -0r cp -Pp --parents -t "$temp/tree" -- 2>&1) || {
    case $errors in *'No space left'* | *'quota exceeded'*) fail_write "$errors" "copying from $base" ;; esac
    refuse base_differs "$base has not what $content takes from it: $errors"
  }
}

proven() { # does the whole have the files that it must have?
  [ -n "$base" ] || return 0
  came=$(sha256sum <"$temp/tree/.manifest")
  [ "${came%% *}" = "$manifest" ] || refuse base_differs "what came out of $base is not $content"
}

seal() { # workflow and manifest, then everything to the disk
  chmod -R u+rwX "$temp/tree"
  rm -rf "$temp/tree/workflow.json" "$temp/tree/.manifest" "$temp/tree/.links" "$temp/tree/.aureus-env"
  errors=$({
    mv "$temp/workflow" "$temp/tree/workflow.json" && cd "$temp/tree" &&
      { [ -z "$env" ] || true >.aureus-env; } &&
      find . -type l -printf '%p\t%l\n' | sort >.links &&
      find . -type f ! -path ./.manifest -print0 | sort -z | xargs -0r sha256sum >"$temp/manifest" &&
      mv "$temp/manifest" .manifest && chmod 755 . && sync -f .
  } 2>&1) || fail_write "$errors" 'writing the manifest'
}

prepare_now() {
  enter
  trap '[ -z "$temp" ] || discard "$temp"' EXIT
  release=$root/releases/$content
  mkdir -p "$root/releases" "$root/shared" "$root/slots" || fail_write "$(df -P "$root" | tail -n 1)" 'making the folders'
  ! is_complete "$release" || { note already && finish already '' "$content is here and complete"; }
  [ "$env" != 0 ] || refuse no_env "$content is not here with its variables: send them"
  # Not proven file by file here: what comes out of it is.
  [ -z "$base" ] || [ -f "$root/releases/$base/.manifest" ] || refuse no_base "$base is not on this host: send the whole of $content"
  room
  temp=$(mktemp -d "$root/releases/.tmp-$key.XXXXXX" 2>&1) || { errors=$temp temp=; fail_write "$errors" 'making a folder'; }
  mkdir "$temp/tree"
  receive workflow "$workflow"
  umask 077
  [ -z "$env" ] || receive env "$env"
  umask 022
  [ -z "$base" ] || receive copies "$copies"
  if [ "$size" -gt 0 ]; then
    receive archive "$size"
    exec 3<"$temp/archive"
    rm -f "$temp/archive"
    found=$(sha256sum </proc/self/fd/3)
    [ "${found%% *}" = "$sha256" ] || refuse sha256 "the archive arrived as sha256 ${found%% *} and should be $sha256"
    unpack
    exec 3<&-
  fi
  seal
  proven
  lock
  check_fence
  if [ -e "$release" ] || [ -L "$release" ]; then
    ! is_complete "$release" || finish already '' "$content is here and complete"
    mv -T "$release" "$temp/broken" || fail write_failed "the incomplete $content cannot be moved away"
  fi
  [ -z "$env" ] || keep_env
  errors=$(mv -T "$temp/tree" "$release" 2>&1) || fail_write "$errors" 'moving the release into place'
  sync "$root/releases"
  ballast make
  note 'done'
  finish 'done' '' "$content is prepared"
}

# --- variables ---------------------------------------------------------------------------------------------------

keep_env() { # under the lock: what arrived, on the disk before the release has its name
  errors=$({
    umask 077 && mkdir -p "$state/env" && chmod 700 "$state/env" && sync "$temp/env" &&
      mv -fT "$temp/env" "$state/env/$content" && sync "$state/env"
  } 2>&1) || fail_write "$errors" 'keeping the variables'
}

place_env() { # under the lock, before a restart: the content's variables where the service reads them
  umask 077
  mkdir -p "$root/shared" "$state/placed" || fail_write "$(df -P "$root" | tail -n 1)" 'making the folders'
  for file in .env "$slot.env"; do
    if [ -e "$root/releases/$content/.aureus-env" ]; then
      errors=$(put_env 2>&1) || fail_write "$errors" "writing shared/$file"
    elif [ -e "$state/placed/$file.ours" ]; then
      errors=$(take_env 2>&1) || fail_write "$errors" "taking back shared/$file"
    fi
  done
  umask 022
}

put_env() { # in one move; what somebody else had put there is kept aside the first time
  if [ ! -e "$state/placed/$file.ours" ]; then
    rm -f "$state/placed/$file"
    [ ! -e "$root/shared/$file" ] || copy_file "$root/shared/$file" "$state/placed/$file" || return 1
    true >"$state/placed/$file.ours" || return 1
  fi
  copy_file "$state/env/$content" "$root/shared/$file"
}

take_env() { # a content without variables of ours has what was there before them
  if [ -e "$state/placed/$file" ]; then
    copy_file "$state/placed/$file" "$root/shared/$file" || return 1
  else
    rm -f "$root/shared/$file" || return 1
  fi
  rm -f "$state/placed/$file.ours" && rm -f "$state/placed/$file"
}

copy_file() { # FROM TO: whole or not at all, with its mode
  cp -p "$1" "${2%/*}/.${2##*/}.new" && sync "${2%/*}/.${2##*/}.new" && mv -fT "${2%/*}/.${2##*/}.new" "$2" &&
    sync "${2%/*}"
}

show_env() { # AUREUS_ENV names the content's own variables, for commands that run before or beside its service
  [ ! -f "$state/env/$content" ] || { AUREUS_ENV=$state/env/$content && export AUREUS_ENV; }
}

# --- activation --------------------------------------------------------------------------------------------------

may_switch() { # is the slot what the plan saw, or what it shall become? sets $was
  was=$(slot_content)
  [ "$was" != "$content" ] || return 0
  [ "$was" = "$expected" ] || refuse cas "slot $slot is on ${was:-nothing}, the plan saw ${expected:-nothing}" "{\"current\":$(text "$was")}"
  [ -L "$root/slots/$slot" ] || [ ! -e "$root/slots/$slot" ] || refuse cas "$root/slots/$slot is not a link"
}

switch_slot() { # compare and swap of the slot's link, under the lock
  lock
  check_fence
  may_switch
  note started
  point_slot
  unlock
}

point_slot() { # the switch itself
  if [ "$was" != "$content" ]; then
    rm -f "$root/slots/.$slot.new"
    errors=$({ ln -s "../releases/$content" "$root/slots/.$slot.new" && mv -fT "$root/slots/.$slot.new" "$root/slots/$slot"; } 2>&1) ||
      fail_write "$errors" 'switching the link'
    sync "$root/slots"
    [ "$(slot_content)" = "$content" ] || fail link_lost "slot $slot does not point to $content after the switch"
  fi
  [ -L "$root/current" ] || ln -s "slots/$slot" "$root/current"
}

tell() { # what a command of the installation finds in its environment
  AUREUS_ROOT=$root AUREUS_CONTENT=$content AUREUS_VERSION=${content%-*} AUREUS_RELEASE=$root/releases/$content
  export AUREUS_ROOT AUREUS_CONTENT AUREUS_VERSION AUREUS_RELEASE
  [ "$fence" -eq 0 ] || { AUREUS_DEPLOYMENT=${key%%:*} && export AUREUS_DEPLOYMENT; }
  show_env
}

run_app() { # restart|stop: the unit, or the installation's own command
  own=$restart
  [ "$1" = restart ] || own=$halt
  cd "$root" || return 1
  AUREUS_SLOT=$slot
  export AUREUS_SLOT
  tell
  if [ -n "$own" ]; then
    exec sh -c "$own"
  elif [ -n "$unit" ] && [ "$(id -u)" -eq 0 ]; then
    exec systemctl "$1" "$unit"
  elif [ -n "$unit" ]; then
    exec sudo -n systemctl "$1" "$unit"
  fi
}

activate_now() {
  enter
  mkdir -p "$root/slots"
  if [ "$(slot_content)" = "$content" ] && [ "$(started_content)" = "$content" ]; then
    finish already '' "$content is what slot $slot runs"
  fi
  is_complete "$root/releases/$content" || refuse incomplete "$content is not complete on this host: prepare it again"
  switch_slot
  lock
  check_fence
  place_env
  unlock
  run_app restart </dev/null >"$registered/output" 2>&1 &
  # `wait` ends when the deadline's signal comes; a foreground command would not.
  wait $!
  status=$?
  if [ "$status" -ne 0 ]; then
    note failed
    fail restart_failed "the restart of $content ended with exit $status" "$(diagnosis)"
  fi
  note 'done'
  finish 'done' '' "$content runs in slot $slot"
}

begin() { # VERB WORDS: start the act as a session of its own, wait a little, and leave it to `status` after that
  mkdir -p "$state/answers"
  said=$state/answers/$nonce
  true >"$said" || fail_write "$(df -P "$state" | tail -n 1)" 'starting the act'
  AUREUS_ACT=$key-$fence-$$ setsid timeout -k 12 "$deadline" sh "$0" "$root" "$nonce" "$@" \
    </dev/null >"$said" 2>/dev/null &
  child=$!
  tries=0
  while [ "$tries" -lt $((wait * 20)) ]; do
    if stat_of "$child" && [ "$p_state" != Z ]; then sleep 0.05; else break; fi
    tries=$((tries + 1))
  done
  line=$(cat "$said")
  rm -f "$said"
  [ -z "$line" ] || { printf '%s\n' "$line"; exit 0; }
  if stat_of "$child" && [ "$p_state" != Z ]; then
    finish running '' "$what goes on"
  fi
  wait "$child"
  explain_silence $?
}

adopt() { # point the slot at what a hand-installed application proved to be; it runs on, from wherever it runs
  lock
  raise_fence
  case $(readlink "$root/current") in
    slots/*) ;;
    *) [ ! -e "$root/current" ] && [ ! -L "$root/current" ] || refuse not_ours "$root/current is somebody else's: move it away, or choose another root" ;;
  esac
  is_complete "$root/releases/$content" || refuse incomplete "$content is not complete on this host: prepare it again"
  may_switch
  [ "$was" != "$content" ] || { note already && finish already '' "slot $slot is on $content"; }
  mkdir -p "$root/slots"
  point_slot
  # No line of an activation: nothing was started, so that activating it later does start it.
  note 'done'
  finish 'done' '' "slot $slot is on $content, nothing was restarted"
}

live() { # `current` names the slot that has the traffic
  lock
  raise_fence
  [ -L "$root/slots/$slot" ] || refuse no_slot "slot $slot has no release yet"
  rm -f "$root/.current.new"
  errors=$({ ln -s "slots/$slot" "$root/.current.new" && mv -fT "$root/.current.new" "$root/current"; } 2>&1) ||
    fail_write "$errors" 'switching current'
  noted live 'done' || note 'done'
  finish 'done' '' "current is slot $slot"
}

cool() { # stop the service of a slot that has no traffic; activating it later starts it, whatever it runs
  [ -n "$unit" ] || [ -n "$halt" ] || refuse usage 'cool needs --unit or --halt'
  content=$(slot_content)
  [ -n "$content" ] || refuse no_slot "slot $slot has no release yet"
  lock
  raise_fence
  # A host with one slot is a side as a whole, and cannot tell by itself.
  for other in "$root"/slots/*; do
    [ "$other" = "$root/slots/$slot" ] || [ "$(readlink "$root/current")" != "slots/$slot" ] ||
      refuse live "slot $slot has the traffic"
  done
  ! noted "activate@$slot" cooled || finish already '' "slot $slot was stopped before"
  register
  trap interrupted TERM INT HUP
  unlock
  run_app stop </dev/null >"$registered/output" 2>&1 &
  wait $!
  status=$?
  [ "$status" -eq 0 ] || fail halt_failed "stopping slot $slot ended with exit $status" "$(diagnosis)"
  note cooled
  finish 'done' '' "slot $slot is stopped"
}

# --- a command that runs once ------------------------------------------------------------------------------------

said() { # ACT: the end of what its command wrote
  printf '{"said":%s}' "$(text "$(tail -c 2000 "$1/output" 2>/dev/null)" 2000)"
}

never_begun() { # VERB: under the lock, a command is never begun a second time by the same key, whatever became of the first
  ! noted "$1" 'done' || finish already '' 'it was done before' "$(said "$acts/$key")"
  ! noted "$1" started || refuse broke_off 'it was begun before and has not ended well: find out how far it came' "$(said "$acts/$key")"
}

carry_out() { # FOLDER: register, then run the command there
  register
  trap interrupted TERM INT HUP
  note started
  unlock
  cd "$1" || fail no_release "$1 cannot be entered"
  tell
  sh -c "$command" </dev/null >"$registered/output" 2>&1 &
  wait $!
  status=$?
  if [ "$status" -ne 0 ]; then
    note failed
    fail command_failed "the command ended with exit $status" "$(said "$registered")"
  fi
  note 'done'
  finish 'done' '' 'the command has ended' "$(said "$registered")"
}

once_now() { # a backup, a migration or a hook
  lock
  goes_on
  raise_fence
  never_begun once
  [ "$folder" = release ] || carry_out "$root"
  is_complete "$root/releases/$content" || refuse incomplete "$content is not complete on this host: prepare it again"
  carry_out "$root/releases/$content"
}

beside_now() { # what a workflow's task runs: no deployment waits for it, and no fence ends it
  lock
  if leads "$acts/$key"; then finish running '' "$what goes on"; fi
  never_begun beside
  where=$(readlink -f "$root/current") && [ -d "$where" ] || refuse no_release "nothing is live in $root yet: deploy a version first"
  content=${where##*/}
  carry_out "$where"
}

# --- the other changing verbs ------------------------------------------------------------------------------------

stop() {
  lock
  raise_fence
  noted stop 'done' || note 'done'
  finish 'done' '' "ended: ${ended:-nothing was running}" "{\"ended\":[$(printf '%s' "$ended" | sed -e 's/ *$//' -e 's/  */,/g')]}"
}

forget() { # old acts and old lines; under the lock, and only while nobody adds to the ledger
  for act in "$state"/acts/* "$state"/beside/*; do
    ! leads "$act" || return 0
    sweep "$act"
    find "$act" -maxdepth 0 -mtime +14 -exec rm -rf {} + 2>/dev/null
  done
  find "$state" "$state/answers" -maxdepth 1 -type f \( -name 'act-*' -o -path '*/answers/*' \) ! -path "$0" -mtime +14 -delete 2>/dev/null
  [ "$(wc -l <"$state/ledger")" -gt 5000 ] || return 0
  tail -n 2000 "$state/ledger" >"$state/ledger.new" && mv -f "$state/ledger.new" "$state/ledger"
}

prune() {
  lock
  raise_fence
  ! noted prune 'done' || finish already '' 'pruned before'
  removed='' left=''
  for release in "$root"/releases/*; do
    name=${release##*/}
    [ -d "$release" ] || continue
    case $keep in *" $name "*) continue ;; esac
    for link in "$root"/slots/*; do
      case $(readlink "$link") in */"$name") continue 2 ;; esac
    done
    mv -T "$release" "$root/releases/.gone-$name" || continue # so that half a release never bears its name
    removed="$removed$(text "$name"),"
  done
  for kept in "$state"/env/*; do [ -d "$root/releases/${kept##*/}" ] || rm -f "$kept"; done
  note 'done'
  forget
  unlock
  for rest in "$root"/releases/.gone-*; do [ ! -d "$rest" ] || discard "$rest"; done
  [ ! -d "$rest" ] || left='some files could not be removed: they belong to another user'
  finish 'done' '' "$left" "{\"removed\":[${removed%,}]}"
}

put() {
  case $path in /*) ;; *) refuse usage 'the path must be absolute' ;; esac
  temp=$(mktemp "$path.XXXXXX" 2>&1) || { errors=$temp temp=; fail_write "$errors" "making a file beside $path"; }
  trap 'rm -f "$temp"' EXIT
  errors=$({ head -c "$size" >"$temp"; } 2>&1) || fail_write "$errors" "writing $path"
  found=$(sha256sum <"$temp")
  [ "${found%% *}" = "$sha256" ] || fail truncated "the bytes for $path did not arrive whole"
  chmod 644 "$temp"
  sync "$temp"
  lock
  raise_fence
  errors=$(mv -fT "$temp" "$path" 2>&1) || fail_write "$errors" "replacing $path"
  finish 'done' '' "$path is written"
}

# --- reading -----------------------------------------------------------------------------------------------------

missing() {
  for tool in $NEEDED; do command -v "$tool" >/dev/null 2>&1 || printf '%s ' "$tool"; done
  tar --version 2>/dev/null | grep -q GNU || printf 'GNU-tar '
}

list() { # WORDS: a JSON list
  comma=''
  printf '['
  for item; do
    printf '%s%s' "$comma" "$(text "$item")"
    comma=,
  done
  printf ']'
}

started_at() { # seconds since 1970 by the host's clock, or null
  began=''
  if [ -n "$unit" ] && command -v systemctl >/dev/null 2>&1; then
    stamp=$(systemctl show -p ActiveEnterTimestamp --value "$unit" 2>/dev/null)
    [ -z "$stamp" ] || began=$(date -d "$stamp" +%s 2>/dev/null)
  elif [ -f "$state/ledger" ]; then
    began=$(grep " activate@$slot [^ ]* done " "$state/ledger" | tail -n 1)
    began=${began##* }
  fi
  printf '%s' "${began:-null}"
}

unit_says() { # PROPERTY: what systemd says of the unit, or nothing
  [ -n "$unit" ] && command -v systemctl >/dev/null 2>&1 || return 0
  systemctl show -p "$1" --value "$unit" 2>/dev/null
}

previous() { # what the slot ran before what it points to now
  [ -f "$state/ledger" ] || return 0
  grep " activate@$slot [^ ]* done " "$state/ledger" | sed -E 's/^[^ ]+ [^ ]+ [^ ]+ ([^ ]+) .*/\1/' | grep -vxF "$(slot_content)" | tail -n 1
}

facts() {
  set --
  for release in "$root"/releases/*; do
    [ -f "$release/.manifest" ] && has_env "$release" && [ $# -lt 500 ] && set -- "$@" "${release##*/}"
  done
  releases=$(list "$@")
  # shellcheck disable=SC2046 # columns
  set -- $(df -Pk "$root" | tail -n 1)
  free=$(($4 * 1024))
  # shellcheck disable=SC2046 # columns
  set -- $(df -Pi "$root" | tail -n 1)
  inodes=-1
  if is_number "$4" && is_number "$2" && [ "$2" -gt 0 ]; then inodes=$4; fi
  seen=$(highest) || { printf '%s\n' "$seen"; exit 10; }
  zstd=false
  ! command -v zstd >/dev/null 2>&1 || zstd=true
  live=$(readlink "$root/current")
  restarts=$(unit_says NRestarts)
  is_number "$restarts" || restarts=null
  # shellcheck disable=SC2046 # a list of names
  finish 'done' '' '' "{\"current\":$(text "$(slot_content)"),\"previous\":$(text "$(previous)"),\"live\":$(text "${live##*/}"),\"releases\":$releases,\"fence\":$seen,\"disk_free\":$free,\"inodes_free\":$inodes,\"missing_tools\":$(list $(missing)),\"zstd\":$zstd,\"started_at\":$(started_at),\"service\":$(text "$(unit_says ActiveState)" 40),\"restarts\":$restarts}"
}

status_of() {
  act=$state/acts/$key
  if leads "$act"; then finish running '' 'the act goes on'; fi
  if [ -f "$act/result" ]; then
    printf '{"nonce":"%s",' "$nonce"
    cat "$act/result"
    exit 0
  fi
  [ -d "$act" ] || fail absent "act $key was never begun on this host"
  fail lost "act $key broke off without a result"
}

workflow_of() {
  content=$(slot_content)
  file=$root/releases/$content/workflow.json
  [ -n "$content" ] && [ -f "$file" ] || refuse no_release "slot $slot has no release with a workflow"
  [ "$(stat -c %s "$file")" -le 720000 ] || refuse too_large "$file is larger than an answer may be"
  finish 'done' '' '' "{\"content\":$(text "$content"),\"workflow\":\"$(base64 -w 0 "$file")\"}"
}

log_lines() {
  if [ -n "$unit" ]; then
    journalctl -u "$unit" -n "$lines" --no-pager -o short-iso 2>&1
  elif [ -n "$log" ]; then
    tail -n "$lines" "$log" 2>&1
  elif [ -n "$registered" ]; then
    tail -n "$lines" "$registered/output" 2>&1
  else
    # shellcheck disable=SC2012 # the names are keys, plain words
    newest=$(ls -t "$state"/acts/*/output 2>/dev/null | head -n 1)
    [ -z "$newest" ] || tail -n "$lines" "$newest" 2>&1
  fi
}

diagnosis() {
  service='no unit is declared'
  [ -z "$unit" ] || service=$(systemctl show -p ActiveState,SubState,Result,NRestarts,ExecMainStatus "$unit" 2>&1 | tr '\n' ' ')
  owner=''
  if [ -n "$port" ]; then
    owner=$(ss -Hltnp "sport = :$port" 2>&1) || owner='ss is not installed'
  fi
  printf '{"service":%s,"logs":%s,"port_owner":%s}' "$(text "$service" 1024)" "$(text "$(log_lines)" 6000)" "$(text "$owner" 1024)"
}

# --- begin -------------------------------------------------------------------------------------------------------

registered='' ended='' temp='' nonce=none
[ $# -ge 3 ] || refuse usage 'usage: act ROOT NONCE VERB [--name value]...'
root=$1 nonce=$2 verb=$3
shift 3
is_word "$nonce" || { nonce=none; refuse usage 'the nonce is not a word'; }
case $root in /?*) ;; *) refuse usage 'ROOT must be an absolute path' ;; esac
parse "$@"
begun=$(date +%s)
state=$root/.aureus ledger_verb=${verb%-now}
acts=$state/acts
case $verb in beside*) acts=$state/beside ;; esac
what="the restart of $content"
case $verb in once* | beside*) what='the command' ;; esac
case $verb in activate-now) ledger_verb=activate@$slot ;; cool) ledger_verb=activate@$slot ;; adopt) ledger_verb=adopt@$slot ;; esac
[ -d "$state" ] || (umask 077 && mkdir -p "$state") || refuse no_root "$root cannot be made: create it and give it to $(id -un)"
read -r boot </proc/sys/kernel/random/boot_id || refuse no_proc '/proc is not mounted'

case $verb in
  prepare | activate | rollback | once | adopt | live | cool | stop | prune)
    is_word "$key" && [ "$fence" -gt 0 ] || refuse usage "$verb needs --fence and --key"
    ballast
    mkdir -p "$state/acts" || fail_write "$(df -P "$state" | tail -n 1)" 'making the folders'
    ;;
esac
case $verb in
  beside)
    is_word "$key" && [ "$fence" -eq 0 ] || refuse usage "$verb needs --key and has no --fence"
    mkdir -p "$acts" || fail_write "$(df -P "$state" | tail -n 1)" 'making the folders'
    ;;
esac
case $verb in
  prepare | activate | rollback | once | adopt)
    is_word "$content" || refuse usage "$verb needs --content"
    absent=$(missing)
    [ -z "$absent" ] || refuse missing_tool "this host lacks: $absent"
    ;;
esac
case $verb in
  facts) facts ;;
  prepare) apart prepare-now "$@" ;;
  prepare-now) prepare_now ;;
  activate | rollback) begin activate-now "$@" ;;
  activate-now) activate_now ;;
  once) begin once-now "$@" ;;
  once-now) once_now ;;
  beside) begin beside-now "$@" ;;
  beside-now) beside_now ;;
  adopt) adopt ;;
  live) live ;;
  cool) cool ;;
  status) status_of ;;
  stop) stop ;;
  prune) prune ;;
  logs) finish 'done' '' '' "{\"logs\":$(text "$(log_lines)" 65536)}" ;;
  diagnose) finish 'done' '' '' "$(diagnosis)" ;;
  workflow) workflow_of ;;
  put) put ;;
  *) refuse usage "unknown verb $verb" ;;
esac
