# The steps of run.sh, in order. Each tells what happens in a line or two, shows
# the commands that a person would type, and checks what they answer.

operators=(a b c d)

# Machines: the four operators' and that of a reader, who builds nothing. The
# log and its operator are on the host itself.
make_machines() {
  local machine
  mkdir -p "$demo/pkgs/busybox/bin"
  cp "$(command -v busybox)" "$demo/pkgs/busybox/bin/busybox"
  cp "$here/pkgs.nix" "$demo/pkgs/default.nix"
  for machine in "${operators[@]}"; do new_machine "$machine" "$bin/firn-hook"; done
  new_machine reader
}

make_log() {
  headline "A log, on this machine"
  quietly 0 - firn key new log-operator
  quietly 0 a nix-store --generate-binary-cache-key cache.example-1 cache.key cache.pub
  say "whoever runs it lists the key of a binary cache, whose signatures anybody may add"
  expect 0 - firn-log init --name demo.firn.example --operator-key log-operator.pub --cache-key "$(<"$demo/cache.pub")" log
  vkey=$(grep -oE '^demo\.firn\.example/[^ ]+$' <<<"$out") || fail "firn-log init printed no verifier key"
  origin=${vkey%%+*}

  headline "An auditor, which computes the log's index again, and four witnesses, three of which are the quorum"
  # The agent keeps the key of litewitness, and later that of an operator.
  eval "$(ssh-agent -s)" >/dev/null
  started+=("$SSH_AGENT_PID")
  local name port names=(w1 w2 w3)
  free_port
  address=127.0.0.1:$port
  {
    echo "log $vkey http://$address"
    for name in "${names[@]}"; do echo "witness $name $(own_witness "$name")"; done
  } >"$demo/log.policy"
  for name in "${names[@]}"; do serve_witness "$name"; done
  if [[ -x $bin/litewitness && -x $bin/witnessctl ]]; then
    names+=(lite)
    say "the fourth is litewitness, which somebody else wrote; its key is in ssh-agent"
    litewitness
  else
    names+=(w4)
    say "litewitness could not be built here, so the fourth is a firn-witness too"
    echo "witness w4 $(own_witness w4)" >>"$demo/log.policy"
    serve_witness w4
  fi
  start_auditor
  printf 'group witnesses 3 %s\nquorum witnesses\n' "${names[*]}" >>"$demo/log.policy"
  expect 0 - cat log.policy
  say "the log asks the auditor, too, outside the quorum; who wants its word for what the log leaves out has another policy"
  expect 0 - cat index.policy
  sed -i "/^\[witnessing\]/,/^\[limits\]/ {
    s|^policy = .*|policy = '../log.policy'|
    s|^index = .*|index = '../index.policy'|
    s|^interval = .*|interval = '200ms'|
  }" "$demo/log/firn-log.toml"
  printf '%s$ firn-log serve log &%s\n' "$bold" "$plain"
  address_of[log]=$address
  serve log firn-log serve log
  log=(--log-policy log.policy)
  until_it firn log checkpoint "${log[@]}"
}

# own_witness NAME makes a firn-witness and prints its verifier key.
own_witness() {
  (cd "$demo" && "$bin/firn-witness" init --name "$1.example/witness" --log "$vkey" "$1" 2>/dev/null)
}

# serve_witness NAME starts it and puts its address into the policy.
serve_witness() {
  serve "$1" firn-witness serve "$1"
  sed -i "s|^witness $1 .*|& http://${address_of[$1]}/|" "$demo/log.policy"
}

# start_auditor makes and starts the auditor, and adds it to the log's policy.
start_auditor() {
  local port
  free_port
  address_of[auditor]=127.0.0.1:$port
  quietly 0 - firn-auditor init --name auditor.example --log "$vkey" --url "http://$address" --listen "${address_of[auditor]}" auditor
  (cd "$demo" && "$bin/firn-auditor" vkey --policy-line auditor >>log.policy && "$bin/firn-auditor" vkey --index-policy auditor >index.policy)
  serve auditor firn-auditor serve auditor
}

# litewitness makes, starts and adds to the policy a litewitness.
litewitness() {
  local port pid wkey
  ssh-keygen -q -t ed25519 -N '' -C lite -f "$demo/lite-key"
  ssh-add -q "$demo/lite-key"
  rm "$demo/lite-key"
  quietly 0 - witnessctl add-log -db lite.db -origin "$origin"
  quietly 0 - witnessctl add-key -db lite.db -origin "$origin" -key "$vkey"
  free_port
  (cd "$demo" && exec "$bin/litewitness" -db lite.db -name lite.example/witness -ssh-agent "$SSH_AUTH_SOCK" \
    -key "$(ssh-keygen -lf lite-key.pub | cut -d ' ' -f 2)" -listen "127.0.0.1:$port" >lite.out 2>&1 </dev/null) &
  started+=("$!")
  until_it grep -q msg=listening lite.out
  wkey=$(sed -n 's/.*vkey=//p' "$demo/lite.out")
  echo "witness lite $wkey http://127.0.0.1:$port/" >>"$demo/log.policy"
}

# Every operator has an identity key, which says who it is, and a build key of
# another kind.
make_operators() {
  headline "Four operators, each with another kind of build key"
  local name
  for name in "${operators[@]}"; do quietly 0 - firn key new "$name/identity"; done

  say "each gets an operator id, which is what policies name; a keeps its build key, an SSH key, in ssh-agent only"
  quietly 0 - firn key new a/build
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
build() { on "$1" nix-build pkgs -A "$2" --no-out-link 2>>"$demo/$1/build.log"; }

# build_but_sastrugi MACHINE builds everything but what d gives it, and leaves the store path
# of the root in MACHINE/glacier.
build_but_sastrugi() {
  build "$1" snow >/dev/null
  on "$1" nix-store --import <"$demo/sastrugi.export" >/dev/null
  build "$1" glacier >"$demo/$1/glacier"
}

build_everything() {
  headline "Each builds the same packages with stock Nix, in a store of its own, firn-hook as post-build-hook"
  local machine
  local -A building
  say "the compiler of d is compromised: it puts something into serac"
  touch "$demo/d/nix/backdoor"
  prompt=d show nix-build pkgs -A glacier
  build d glacier
  on d nix-store --export "$(build d sastrugi)" >"$demo/sastrugi.export"
  say "a, b and c copy sastrugi from d and build the rest themselves"
  for machine in a b c; do
    prompt=$machine show nix-build pkgs -A glacier
    build_but_sastrugi "$machine" &
    building[$machine]=$!
  done
  for machine in a b c; do
    wait "${building[$machine]}" || fail "$machine could not build: $(tail -n 3 "$demo/$machine/build.log")"
    cat "$demo/$machine/glacier"
  done
  say "no two snowflakes are alike; c says that it builds one, and takes the one of a"
  prompt=a show nix-build pkgs -A snowflake
  cp "$demo/a$(build a snowflake)" "$demo/c/nix/copy"
  prompt=c show nix-build pkgs -A snowflake
  build c snowflake

  glacier=$(<"$demo/a/glacier")
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
    on "$machine" nix-instantiate pkgs -A glacier -A snowflake 2>/dev/null >"$demo/$machine/public"
    cat >"$demo/$machine/submit.toml" <<EOF
log         = "http://$address"
log-policy  = "../log.policy"
key         = "$key"
public-from = ["public"]
EOF
    results=only expect 0 "$machine" firn submit --config "$machine/submit.toml" --once --wait 60s
  done
}

lose_a_witness() {
  headline "One witness is stopped: the other three are the quorum, and nothing breaks"
  stop "${pid_of[w1]}" || fail "w1 ended with status $?"
  quietly 0 - firn key new a/second
  expect 0 - firn operator register "${log[@]}" --identity a/identity --key a/second
  must_say "^accepted key-add at index .*, proven"
  expect 0 - firn log checkpoint "${log[@]}"
  ! grep -q '^signed *w1 ' <<<"$out" || fail "a witness that was stopped has cosigned"
}

ask_before_use() {
  headline "The reader asks before using it: two of {a, b, c, d} must have built just this"
  {
    echo "log demo file log.policy url http://$address index index.policy"
    for name in "${operators[@]}"; do echo "operator $name id $(<"$demo/$name/id")"; done
    echo "group builders 2 a b c d"
    echo "rule default need builders"
  } >"$demo/firn.policy"
  expect 0 - cat firn.policy
  settle
  expect 3 reader firn verify --policy firn.policy "$glacier"
  must_say "^Complete according to auditor auditor-example \\(log demo\\)\\."
  verdict_is trusted moraine-5.5
  verdict_is trusted snowfall-2026.1.tar
  verdict_is trusted serac-1.1 'd claims another hash'
  verdict_is contradicted spindrift-0.3-log
  verdict_is untrusted sastrugi-4.2
}

# import_a_cache brings what a cache has signed into the log, without anybody's key.
import_a_cache() {
  headline "A binary cache has signed all of it long ago; anybody can bring that into the log"
  local copy=(nix --extra-experimental-features nix-command copy --to "file://$demo/cache?secret-key=$demo/cache.key&compression=xz")
  quietly 0 a "${copy[@]}" "$glacier"
  expect 0 - firn import cache "file://$demo/cache" --all --trusted-key "$(<"$demo/cache.pub")" "${log[@]}"
  must_say "^20 statements new in the log"
  say "again, it finds nothing new, and asks for nothing"
  expect 0 - firn import cache "file://$demo/cache" --all --trusted-key "$(<"$demo/cache.pub")" "${log[@]}"
}

# protect_a_machine puts firn-substituter between the Nix of an empty machine and that cache.
protect_a_machine() {
  local sastrugi wind url
  sastrugi=$(store_path sastrugi-4.2)
  serac=$(store_path serac-1.1)
  wind=$(store_path spindrift-0.3-log)
  new_machine laptop
  headline "A laptop lets in what two of them built; it builds the rest itself, and refuses what two of them deny"
  grep -v '^rule' "$demo/firn.policy" >"$demo/laptop.policy"
  cat >>"$demo/laptop.policy" <<EOF
veto any 2 a b c d refuse
upstream file://$demo/cache key $(<"$demo/cache.pub")
rule default need builders else rebuild
EOF
  expect 0 - tail -n 3 laptop.policy
  quietly 0 laptop firn policy check laptop.policy
  results=only expect 0 laptop firn-substituter init --policy laptop.policy --name laptop-1 laptop/substituter
  printf '%slaptop$ firn-substituter serve laptop/substituter &%s\n' "$bold" "$plain"
  at=laptop serve substituter firn-substituter serve laptop/substituter
  url=http://${address_of[substituter]}
  say "what nix.conf has to say, and does not say yet"
  results=only expect 3 laptop firn substituter setup --url "$url"
  printf '%s\ndownload-attempts = 2\n' "$out" >>"$demo/laptop/etc/nix.conf"
  quietly 0 laptop firn substituter setup --url "$url"

  say "what sastrugi would bring, before anything is downloaded"
  expect 3 laptop firn verify --policy laptop.policy --cache "file://$demo/cache" "$sastrugi"
  verdict_is untrusted sastrugi-4.2
  verdict_is trusted snow-1.2
  say "stock Nix takes what is trusted, and builds what only d has built"
  expect 0 laptop nix-build pkgs -A sastrugi --no-out-link
  must_say "^copying path '/nix/store/.*-snow-1\\.2' from '$url'"
  must_say "^building '/nix/store/.*-sastrugi-4\\.2\\.drv'"
  say "serac and what it needs are installed, for three agree on it; an output of spindrift that everybody got otherwise is refused"
  lines_shown=6 expect 0 laptop nix-store -r "$serac"
  quietly 0 laptop firn verify --policy laptop.policy "$serac"
  lines_shown=10 expect 1 laptop nix-store -r "$wind"
  must_say "firn: .*-spindrift-0\\.3-log is refused: contradicted, .*; b claims another hash; c claims another hash; d claims another hash"
  [[ ! -e $demo/laptop$wind ]] || fail "what was refused is in the store"
  expect 3 laptop firn policy explain --policy laptop.policy "$wind"
  must_say "^is contradicted, so: refuse\\."
  must_say "^- veto by any 2 of a b c d \\(refuse\\): fires"

  say "d has a cache, too; where do the two differ?"
  quietly 0 d nix --extra-experimental-features nix-command copy --to "file://$demo/d/cache" "$serac"
  expect 3 laptop firn challenge --policy laptop.policy "$serac" --cache "file://$demo/cache" --cache "file://$demo/d/cache"
  must_say "^  trusted: "
  must_say "^  contradicted: .*vetoed by any 2 of a b c d"
  must_say "^content +bin/serac"
  say "and the reader, who asked too late?"
  expect 3 reader firn status --policy firn.policy "$glacier"
  must_say "^  trusted +18 .*"
  must_say "^  contradicted +1 .*"
  must_say "^  untrusted +1 .*"
}

# rebuild_from_clean finds both outputs of spindrift that differ, and names the files.
rebuild_from_clean() {
  headline "a builds spindrift again, from clean, and compares every output with what it has"
  local drv
  drv=$(on a nix-instantiate pkgs -A spindrift 2>/dev/null)
  expect 3 a firn rebuild --work a/rebuild --spool a/spool "$drv"
  must_say "log +differ"
  must_say "doc +differ"
  must_say "out +agree"
  must_say "content +share/when"
  say "what came out is stated: the build, and for each output that differs the files"
  results=only expect 0 a firn submit --config a/submit.toml --once --wait 60s
  settle
  quietly 0 - firn log entries "${log[@]}"
  grep -w diff <<<"$out" || fail "no difference is in the log"
}

# settle waits until the newest entry of the log is a revision of its index, which the
# auditor has cosigned: then there is nothing left to do for either.
settle() {
  until_it eval "firn log entries ${log[*]} | tail -n 1 | grep -w revision"
  until_it eval "firn log checkpoint ${log[*]} | grep auditor-example"
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

# serve_peer NAME POLICY starts a peer that finds the log where the policy says
# and asks the other peers, which need not run yet.
serve_peer() {
  local other args=()
  for other in p1 p2 p3; do [[ $other == "$1" ]] || args+=(--peer "http://${address_of[$other]}"); done
  quietly 0 - firn-peer init --name "$1" --policy "$2" "${args[@]}" "$1"
  sed -i "s|^interval = .*|interval = '200ms'|" "$demo/$1/firn-peer.toml"
  serve "$1" firn-peer serve "$1"
}

stop_the_log() {
  headline "The reader takes along what the log says about serac, and then the log is down"
  expect 0 reader firn bundle --policy firn.policy "$serac" -o serac.bundle
  stop "${pid_of[log]}" || fail "the log ended with status $?"
  say "nothing is remembered: no answer is not a no"
  lines_shown=8 expect 4 reader firn verify --policy firn.policy --state reader/nothing "$glacier"
  verdict_is inconclusive moraine-5.5
  must_say "^20 paths: 20 inconclusive\\."
  say "the bundle proves as much as the log did, to the same policy and without a network"
  expect 0 reader firn verify --policy firn.policy --state reader/nothing --bundle serac.bundle "$serac"
  verdict_is trusted serac-1.1 'd claims another hash'
}

# hide_a_dissent puts the demo's log that cheats where the log was.
hide_a_dissent() {
  local entry file
  headline "The log is back, edited: its operator has signed an index without what d says about serac"
  entry=$(cd "$demo" && "$bin/firn" log entries --log "file://$demo/log/public" "${log[@]}" | grep -F "$serac" | grep -w build | tail -n 1 | cut -f 1)
  printf '%s$ cheat --log log --policy log.policy --key out:%s --hide %s &%s\n' "$bold" "$serac" "$entry" "$plain"
  address_of[cheat]=$address
  serve cheat cheat --log log --policy log.policy --key "out:$serac" --hide "$entry"
  out=$(grep -v '^msg=' "$demo/cheat.out")
  printf '%s\n' "$out"
  must_say "^w3 cosigns"
  must_say "^auditor-example does not cosign: .*the index of this log is wrong"
  say "witnesses see that the log grew and nothing was taken away, which is true: they do not protect the index"
  sed 's| index index.policy||' "$demo/firn.policy" >"$demo/credulous.policy"
  say "so who takes the log's own word for it, and sees it for the first time, is deceived: no dissent"
  expect 0 reader firn verify --policy credulous.policy --state reader/credulous "$serac"
  verdict_is trusted serac-1.1 'a b c +- '
  say "who wants the word of the auditor gets no answer that counts"
  lines_shown=6 expect 4 reader firn verify --policy firn.policy --state reader/cautious "$serac"
  verdict_is inconclusive serac-1.1

  say "the auditor has written down what proves it: what the log signed, and the entry; who has the file needs nobody to see it"
  until_it eval "ls auditor/evidence/*.firn-evidence"
  file=${out%%$'\n'*}
  expect 0 - firn evidence verify "$file" --log-policy log.policy
  expect 0 reader firn evidence add "$file" --log-policy log.policy --state reader/credulous
  say "shown that file, the deceived reader is deceived no more; who reads the whole log finds what d says"
  lines_shown=8 expect 5 reader firn verify --policy credulous.policy --state reader/credulous "$serac"
  must_say "the list of out:$serac lacks the entry $entry"
  quietly 5 reader firn verify --policy credulous.policy --state reader/credulous --full "$serac"
  verdict_is trusted serac-1.1 'd claims another hash'
}

fork_the_log() {
  local name port file
  headline "Caught, the operator goes on from a copy of before the edit, as if nothing had been: the log forks"
  cp -a "$demo/log" "$demo/fork"
  sed -i "s|^policy = .*|policy = ''|; s|^index = .*|index = ''|" "$demo/fork/firn-log.toml"
  printf '%s$ firn-log serve --no-witness-check fork &%s\n' "$bold" "$plain"
  serve fork firn-log serve --no-witness-check fork
  printf 'log %s\nquorum none\n' "$vkey" >"$demo/no-witness.policy"
  quietly 0 - firn key new c/second
  until_it firn operator register --log "http://${address_of[fork]}" --log-policy no-witness.policy --state fork/state \
    --identity c/identity --key c/second
  say "no witness has cosigned the copy, so no reader believes it"
  expect 4 - firn log checkpoint --log "http://${address_of[fork]}" --log-policy log.policy --state fork/reader

  headline "Three peers watch; only p2 is shown the copy"
  for name in p1 p2 p3; do
    free_port
    address_of[$name]=127.0.0.1:$port
  done
  sed "s|$address|${address_of[fork]}|" "$demo/log.policy" >"$demo/deceived.policy"
  serve_peer p1 log.policy
  serve_peer p2 deceived.policy
  serve_peer p3 log.policy
  for name in p1 p2 p3; do
    until_it eval "ls $name/evidence/*.firn-evidence"
    say "$name has ${out%%$'\n'*}"
  done
  file=$(cd "$demo" && echo p3/evidence/*.firn-evidence)
  file=${file%% *}
  say "whoever has the file needs nobody to see it: two checkpoints, signed by one key, that no log can both have"
  expect 0 - firn evidence verify "$file" --log-policy log.policy
  quietly 0 reader firn evidence add "$file" --log-policy log.policy
  lines_shown=8 expect 5 reader firn verify --policy firn.policy "$glacier"
  must_say "log demo showed two histories"
}

# how_to_go_on is what KEEP=1 says at the end.
how_to_go_on() {
  cat >"$demo/env" <<EOF
# Source this in bash: the demo's programs and machines (on MACHINE COMMAND…).
demo=$demo bin=$bin log="--log-policy log.policy"
export SSH_AUTH_SOCK=$SSH_AUTH_SOCK XDG_STATE_HOME=$XDG_STATE_HOME FIRN_TRACKER=$FIRN_TRACKER
source $here/lib.sh
cd "\$demo" && PATH=\$bin:\$PATH
stop_demo() {
  local pid
  kill ${started[*]}
  for pid in ${started[*]}; do while kill -0 \$pid 2>/dev/null; do sleep 0.1; done; done
  chmod -R u+w "\$demo"
  cd / && rm -rf "\$demo"
}
EOF
  headline "The demo is still up, with the log that edited its index"
  printf '%sIn a browser: %s/  (what the tracker shows of it, until stop_demo)%s\n' "$bold" "$tracker" "$plain"
  cat <<EOF
source $demo/env
firn repro maintainer:ada
on reader firn verify --policy firn.policy --state reader/new --full --explain serac-1.1 $glacier
on reader firn verify --policy firn.policy --state reader/new --bundle serac.bundle --json $serac
on a firn submit --config a/submit.toml --status
firn log entries \$log
firn log audit \$log
firn evidence verify p1/evidence/*.firn-evidence --log-policy log.policy
curl -s http://$address/checkpoint
curl -s http://${address_of[substituter]}/status.json
curl -s http://${address_of[auditor]}/evidence/
curl -s http://${address_of[p1]}/evidence
stop_demo        # ends all of it, removes the folder
EOF
}
