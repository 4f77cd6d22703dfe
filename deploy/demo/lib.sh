# Helpers of run.sh: telling, machines, clean-up. Sourced by bash, also by the
# `env` file that KEEP=1 leaves behind; needs demo (the demo's folder) and bin
# (the programs) to be set.

bold='' dim='' plain=''
if [[ -t 1 ]]; then bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'; fi

headline() { printf '\n%s== %s%s\n' "$bold" "$*" "$plain"; }
say() { printf '%s%s%s\n' "$dim" "$*" "$plain"; }
fail() {
  printf '\ndemo: FAILED: %s\n' "$*" >&2
  exit 1
}

# on MACHINE COMMAND… runs a command on a machine: a mount namespace in which
# /nix is the machine's own and everything else is this host's.
on() {
  local machine=$1 entry mounts=()
  shift
  for entry in /*; do
    case $entry in
      /nix) ;;
      /proc) mounts+=(--proc /proc) ;;
      /dev) mounts+=(--dev-bind /dev /dev) ;;
      *)
        if [[ -L $entry ]]; then
          mounts+=(--symlink "$(readlink "$entry")" "$entry")
        elif [[ -r $entry ]]; then
          mounts+=(--bind "$entry" "$entry")
        fi
        ;;
    esac
  done
  bwrap "${mounts[@]}" --bind "$demo/$machine/nix" /nix --chdir "$demo" --die-with-parent \
    --unsetenv NIX_CONFIG --unsetenv NIX_PATH --unsetenv NIX_REMOTE --unsetenv NIX_STORE_DIR \
    --setenv NIX_CONF_DIR "$demo/$machine/etc" --setenv HOME "$demo/$machine/home" \
    --setenv XDG_STATE_HOME "$demo/$machine/state" --setenv FIRN_SPOOL "$demo/$machine/spool" \
    --setenv PATH "$bin:$PATH" \
    -- "$@"
}

# new_machine NAME [HOOK] makes an empty store and a nix.conf, with HOOK as its
# post-build-hook.
new_machine() {
  local dir=$demo/$1
  mkdir -p "$dir"/{nix,etc,home,state}
  {
    echo "sandbox = false"
    echo "build-users-group ="
    echo "substituters ="
    [[ -z ${2-} ]] || echo "post-build-hook = $2"
  } >"$dir/etc/nix.conf"
}

# show COMMAND… prints a command as a person would type it; a flag that would not
# fit into about 120 columns begins another line.
show() {
  local word line=$prompt$ lines=''
  for word in "$@"; do
    case $word in
      *[\ \$\;\&\|\<\>\*\'\"]*) word="'$word'" ;;
    esac
    if [[ $word == --* ]] && ((${#line} + ${#word} > 105)); then
      lines+=$line$' \\\n'
      line='   '
    fi
    line+=" $word"
  done
  printf '%s%s%s\n' "$bold" "$lines$line" "$plain"
}

# brief TEXT prints it; if it has more than $lines_shown lines, only its
# beginning and its end.
lines_shown=40
brief() {
  local lines half=$((lines_shown / 2))
  lines=$(wc -l <<<"$1")
  if ((lines > lines_shown)); then
    head -n "$half" <<<"$1"
    say "… $((lines - 2 * half)) more lines …"
    tail -n "$half" <<<"$1"
  else
    printf '%s\n' "$1"
  fi
}

# expect STATUS MACHINE COMMAND… shows a command, runs it on a machine (or on
# the host, if MACHINE is -), shows what it said and ends the demo unless it
# exits with STATUS. What it said is in $out. With results=only in front, what
# goes to stderr goes to a file instead.
out='' results=''
expect() {
  local want=$1 machine=$2 got=0 prompt=''
  shift 2
  [[ $machine == - ]] || prompt=$machine
  show "$@"
  run "$machine" "$@" || got=$?
  [[ -z $out ]] || brief "$out"
  [[ $want == 0 ]] || say "(exit status $got)"
  [[ $got == "$want" ]] || fail "exit status $got, want $want"
}

# run MACHINE COMMAND… keeps what it says in $out.
run() {
  local machine=$1 errors=/dev/stdout
  shift
  [[ -z $results ]] || errors=$demo/stderr
  if [[ $machine == - ]]; then
    out=$(cd "$demo" && PATH=$bin:$PATH "$@" 2>>"$errors")
  else
    out=$(on "$machine" "$@" 2>>"$errors")
  fi
}

# quietly is expect for a command whose output tells a newcomer nothing.
quietly() {
  local want=$1 machine=$2 got=0
  shift 2
  run "$machine" "$@" || got=$?
  [[ $got == "$want" ]] || fail "$* on $machine: exit status $got, want $want: $out"
}

# must_say PATTERN checks the output of the last command (extended regular
# expression).
must_say() {
  grep -qE -- "$1" <<<"$out" || fail "the output does not match: $1"
}

# started holds the process ids to end when the demo ends; pid_of and address_of
# those, and the addresses, of services by name.
started=()
declare -A pid_of address_of

# serve NAME PROGRAM ARGUMENT… starts a service of firn in the background, on the
# host or on the machine $at, where it ends with the shell that waits for it; what it says is in NAME.out. Its port is whatever is
# free the first time.
at=''
serve() {
  local name=$1 try
  shift
  touch "$demo/$name.out"
  set -- "$bin/$1" "${@:2}" --listen "${address_of[$name]:-127.0.0.1:0}"
  (
    cd "$demo"
    if [[ -n $at ]]; then on "$at" "$@"; else exec "$@"; fi >>"$name.out" 2>&1 </dev/null
  ) &
  pid_of[$name]=$!
  started+=("$!")
  for try in {1..400}; do
    address_of[$name]=$(sed -n 's/.*msg=serving .*address=\([^ ]*\).*/\1/p' "$demo/$name.out" | tail -n 1)
    [[ -z ${address_of[$name]} ]] || return 0
    kill -0 "${pid_of[$name]}" 2>/dev/null || break
    sleep 0.05
  done
  fail "$name did not start: $(tail -n 3 "$demo/$name.out")"
}

# until_it COMMAND… runs a command on the host until it succeeds. What it said is
# in $out.
until_it() {
  local try
  for try in {1..300}; do
    if out=$(cd "$demo" && PATH=$bin:$PATH "$@" 2>&1); then return 0; fi
    sleep 0.1
  done
  fail "$* does not succeed: $out"
}

# free_port sets $port to a port that nobody listens on. Somebody may take it
# before it is used; then what uses it does not start.
free_port() {
  for port in $(shuf -i 20000-32000 -n 20); do
    (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null || return 0
  done
  fail "no port is free"
}

# stop PID ends one of them and returns its exit status.
stop() {
  local pid left=()
  for pid in "${started[@]}"; do [[ $pid == "$1" ]] || left+=("$pid"); done
  started=("${left[@]}")
  kill "$1"
  wait "$1"
}

stop_all() {
  local pid
  for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${started[@]}"; do wait "$pid" 2>/dev/null || true; done
  started=()
}
