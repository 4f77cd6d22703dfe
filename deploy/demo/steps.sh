# The steps of run.sh, in order. Each tells what happens in a line or two, shows
# the commands that a person would type, and checks what they answer.

operators=(a b c d)

# Machines: the four operators' and that of a reader, who builds nothing. The
# log and its operator are on the host itself.
make_machines() {
  local machine
  mkdir -p "$demo/busybox/bin"
  cp "$(command -v busybox)" "$demo/busybox/bin/busybox"
  cp "$here/pkgs.nix" "$demo"
  for machine in "${operators[@]}"; do new_machine "$machine" "$bin/firn-hook"; done
  new_machine reader
}

serve_log() {
  # The port is whatever is free the first time, and stays that.
  (cd "$demo" && exec "$bin/firn-log" serve log --listen "${address:-127.0.0.1:0}" >>log.out 2>&1 </dev/null) &
  log_pid=$!
  started+=("$log_pid")
  local try
  for try in {1..200}; do
    address=$(sed -n 's/.*msg=serving .*address=\([^ ]*\).*/\1/p' "$demo/log.out" | tail -n 1)
    [[ -z $address ]] || return 0
    kill -0 "$log_pid" 2>/dev/null || fail "the log did not start: $(tail -n 3 "$demo/log.out")"
    sleep 0.05
  done
  fail "the log did not start within 10 s"
}

make_log() {
  headline "A log, on this machine; its policy file says whose checkpoints are believed"
  quietly 0 - firn key new log-operator
  expect 0 - firn-log init --name demo.firn.example --operator-key log-operator.pub log
  vkey=$(grep -oE '^demo\.firn\.example/[^ ]+$' <<<"$out") || fail "firn-log init printed no verifier key"
  printf '%s$ firn-log serve log &%s\n' "$bold" "$plain"
  serve_log
  printf 'log %s http://%s\nquorum none\n' "$vkey" "$address" >"$demo/log.policy"
  expect 0 - cat log.policy
  log=(--log-policy log.policy)
}

# Every operator has an identity key, which says who it is, and a build key of
# another kind.
make_operators() {
  headline "Four operators, each with another kind of build key"
  local name
  for name in "${operators[@]}"; do quietly 0 - firn key new "$name/identity"; done

  say "each gets an operator id, which is what policies name; a keeps its build key, an SSH key, in ssh-agent only"
  quietly 0 - firn key new a/build
  eval "$(ssh-agent -s)" >/dev/null
  started+=("$SSH_AGENT_PID")
  ssh-add -q "$demo/a/build"
  rm "$demo/a/build"
  register a agent:a/build.pub

  say "b signs with the secret key of its Nix cache"
  on b nix-store --generate-binary-cache-key b.example-1 b/build b/build.pub
  register b b/build

  say "c has an SSH key in a file"
  quietly 0 - firn key new c/build
  register c c/build

  say "d lets stock ssh-keygen sign (SSHSIG)"
  ssh-keygen -q -t ed25519 -N '' -C d -f "$demo/d/build"
  register d ssh-keygen:d/build

  say "the log's operator vouches for them, which lifts the budget that newcomers share"
  quietly 0 - firn operator register "${log[@]}" --identity log-operator --name log-operator --contact log@firn.example
  for name in "${operators[@]}"; do
    quietly 0 - firn operator vouch "$(<"$demo/$name/id")" "${log[@]}" --identity log-operator
  done
}

# register NAME KEY registers an operator and keeps its id in NAME/id.
register() {
  results=only expect 0 - firn operator register "${log[@]}" --identity "$1/identity" --key "$2" --name "$1" --contact "$1@firn.example"
  grep -xE '[0-9a-f]{64}' <<<"$out" >"$demo/$1/id" || fail "firn operator register printed no operator id"
}

# build MACHINE ATTRIBUTE builds with stock Nix and prints the store path.
build() { on "$1" nix-build pkgs.nix -A "$2" --no-out-link 2>>"$demo/$1/build.log"; }

build_everything() {
  headline "Each builds the same packages with stock Nix, in a store of its own, firn-hook as post-build-hook"
  local machine
  say "the compiler of d is compromised: it puts something into serac"
  touch "$demo/d/nix/backdoor"
  prompt=d show nix-build pkgs.nix -A glacier
  build d glacier
  on d nix-store --export "$(build d sastrugi)" >"$demo/sastrugi.export"
  say "a, b and c copy sastrugi from d and build the rest themselves"
  for machine in a b c; do
    build "$machine" snow >/dev/null
    on "$machine" nix-store --import <"$demo/sastrugi.export" >/dev/null
    prompt=$machine show nix-build pkgs.nix -A glacier
    build "$machine" glacier
  done

  glacier=$(build a glacier)
  on a nix-store -qR "$glacier" >"$demo/closure"
  say "a reader, who built nothing, copies all $(wc -l <"$demo/closure") paths from a"
  # shellcheck disable=SC2046 # one argument a line
  on a nix-store --export $(<"$demo/closure") >"$demo/glacier.export"
  on reader nix-store --import <"$demo/glacier.export" >/dev/null
}

submit_everything() {
  headline "Each submits what the hook noted: resolved, signed, sent, and proven to be in the log"
  local machine key
  for machine in "${operators[@]}"; do
    case $machine in
      a) key=agent:$demo/a/build.pub ;;
      d) key=ssh-keygen:$demo/d/build ;;
      *) key=file:build ;;
    esac
    # Only what is needed to build a public root may leave the machine.
    on "$machine" nix-instantiate pkgs.nix -A glacier 2>/dev/null >"$demo/$machine/public"
    cat >"$demo/$machine/submit.toml" <<EOF
log         = "http://$address"
log-policy  = "../log.policy"
key         = "$key"
public-from = ["public"]
EOF
    results=only expect 0 "$machine" firn submit --config "$machine/submit.toml" --once --wait 60s
  done
}

ask_before_use() {
  headline "The reader asks before using it: two of {a, b, c, d} must have built just this"
  {
    echo "log demo file log.policy url http://$address"
    echo "completeness off"
    for name in "${operators[@]}"; do echo "operator $name id $(<"$demo/$name/id")"; done
    echo "group builders 2 a b c d"
    echo "rule default need builders"
  } >"$demo/firn.policy"
  expect 0 - cat firn.policy
  expect 3 reader firn verify --policy firn.policy "$glacier"
  verdict_is trusted moraine-5.5
  verdict_is trusted snowfall-2026.1.tar
  verdict_is trusted serac-1.1 'd claims another hash'
  verdict_is contradicted spindrift-0.3-log
  verdict_is untrusted sastrugi-4.2
}

# verdict_is VERDICT NAME [WORDS] checks a row of the last table.
verdict_is() {
  must_say "^${2//./\\.} +$1 .*${3-}"
}

# store_path NAME is where a path of the closure is, in every store.
store_path() { grep -E -- "-${1//./\\.}\$" "$demo/closure"; }

find_tampering() {
  headline "Somebody changes a file in the reader's store"
  local crystal file entries copy=$demo/untouched
  crystal=$(store_path crystal-6.0)
  file=$demo/reader$crystal/lib/crystal
  cat "$file" >"$copy"
  chmod u+w "$file"
  echo 601 >>"$file"
  expect 3 reader firn verify --policy firn.policy --rehash "$crystal"
  verdict_is contradicted crystal-6.0 "content differs"
  cat "$copy" >"$file"
  chmod u-w "$file"

  headline "Somebody changes one bit of an entry in the log's files"
  entries=$(find "$demo/log/tessera/tile/entries" -type f | sort -V | tail -n 1)
  cat "$entries" >"$copy"
  flip_bit "$entries" 2000
  expect 3 - firn log fsck log --log-policy log.policy
  must_say "^tile/entries/.* is not the one in the tree"
  say "whoever reads the whole log, instead of asking it, refuses it too"
  expect 1 reader firn verify --policy firn.policy --full --state reader/afresh "$glacier"
  must_say "refused"
  cat "$copy" >"$entries"
  quietly 0 - firn log fsck log --log-policy log.policy
  quietly 3 reader firn verify --policy firn.policy --full --state reader/afresh "$glacier"
}

# flip_bit FILE OFFSET changes the lowest bit of one byte.
flip_bit() {
  local byte
  byte=$(od -An -tu1 -j "$2" -N 1 "$1")
  # shellcheck disable=SC2059 # the format is the byte
  printf "\\x$(printf %x $((byte ^ 1)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

stop_the_log() {
  headline "The log is down and nothing is remembered: no answer is not a no"
  stop "$log_pid" || fail "the log ended with status $?"
  lines_shown=8 expect 4 reader firn verify --policy firn.policy --state reader/nothing "$glacier"
  verdict_is inconclusive moraine-5.5
  must_say "^20 paths: 20 inconclusive\\."
}

# how_to_go_on is what KEEP=1 says at the end. The log is started again.
how_to_go_on() {
  serve_log
  cat >"$demo/env" <<EOF
# Source this in bash: the demo's programs and machines (on MACHINE COMMAND…).
demo=$demo bin=$bin log="--log-policy log.policy"
export SSH_AUTH_SOCK=$SSH_AUTH_SOCK XDG_STATE_HOME=$XDG_STATE_HOME
source $here/lib.sh
cd "\$demo" && PATH=\$bin:\$PATH
stop_demo() { kill ${started[*]}; chmod -R u+w "\$demo"; cd / && rm -rf "\$demo"; }
EOF
  headline "The demo is still up"
  cat <<EOF
source $demo/env
on reader firn verify --policy firn.policy --explain serac-1.1 $glacier
on reader firn verify --policy firn.policy --full --json $glacier
on a firn submit --config a/submit.toml --status
firn log entries \$log
firn log audit \$log
firn operator show \$log $(<"$demo/d/id")
firn log checkpoint \$log
stop_demo        # ends the log and the agent, removes the folder
EOF
}
