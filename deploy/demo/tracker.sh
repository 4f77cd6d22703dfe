# The step of run.sh with the tracker.

# follow_with_a_tracker shows all this by package, channel and maintainer.
follow_with_a_tracker() {
  local id line command
  headline "A tracker evaluates the packages and follows the log: who can say what of theirs is reproducible?"
  say "a channel, yesterday and, with a new version of glacier, today"
  expect 0 - firn-tracker eval --channel snow --tree pkgs --time "$(days_ago 1)" tracker
  sed -i 's/glacier-2026\.11/glacier-2026.12/' "$demo/pkgs/default.nix"
  quietly 0 - firn-tracker eval --channel snow --tree pkgs --time "$(days_ago 0)" tracker
  cat >"$demo/tracker/firn-tracker.toml" <<EOF
title  = "firn demo"
policy = "../firn.policy"
random = ["snowflake"]
poll   = "200ms"
EOF
  expect 0 - cat tracker/firn-tracker.toml
  printf '%s$ firn-tracker serve tracker &%s\n' "$bold" "$plain"
  serve tracker firn-tracker serve tracker
  tracker=http://${address_of[tracker]}
  until_it curl -sf "$tracker/readyz"
  until_it eval "curl -sf $tracker/channel/snow.json | grep -w '\"drv_seq\":2'"

  say "ada maintains six packages"
  export FIRN_TRACKER=$tracker
  expect 0 - firn repro maintainer:ada
  must_say "^snowflake .* copying "
  must_say "^serac .* differ "
  must_say "^spindrift .* differ "
  must_say "^sastrugi .* missing "
  must_say "^ice .* agree "
  say "one of them, in words, and as scripts read it"
  expect 3 - firn repro serac
  must_say "^out +differ +3 +1 "
  quietly 0 - firn repro crystal
  quietly 4 - firn repro sastrugi
  quietly 3 - firn repro snowflake
  quietly 0 - curl -sf "$tracker/package/serac.json"
  must_say '"state":"differ",.*"agreeing":3,"against":1,'
  id=$(grep -oE '"operator":\{"id":"[^"]*","name":"d",.*' <<<"$out" | grep -oE '"statement":"[0-9a-f]{64}"' | head -n 1 | cut -d '"' -f 4)
  say "what got worse since yesterday: nobody has built the new glacier yet"
  expect 0 - firn repro channel:snow
  must_say "^glacier +2026\.12 +agree +missing"
  state_a_system
  say "a tracker is believed nothing: by the reader's policy, the logs prove what it shows"
  expect 0 reader firn repro serac --policy firn.policy
  must_say "^What .* shows of the operators of the policy is what the logs prove\."

  say "and the page of what d says of serac tells how to prove it by hand"
  quietly 0 - curl -sf "$tracker/statement/$id.json"
  out=$(grep -oE '"commands":\[[^]]*' <<<"$out" | grep -oE '"firn [^"]*' | tr -d '"')
  must_say "^firn log prove $id "
  must_say "^firn log verify-proof "
  must_say "^firn verify $serac\$"
  while read -r line; do
    read -ra command <<<"$line"
    FIRN_POLICY=firn.policy expect 0 reader "${command[@]}" </dev/null
  done <<<"$out"
}

# state_a_system has a state what its machine consists of, before glacier was installed and since.
state_a_system() {
  local id verdict
  say "a states what its machine consists of, before it got glacier and since: how much of that do others come to?"
  expect 0 a firn statement closure machine-a "$(store_path moraine-5.5)" --config a/submit.toml
  expect 0 a firn statement closure machine-a "$glacier" --config a/submit.toml
  must_say "^machine-a: 20 paths, statement [0-9a-f]{64}, entry [0-9]+ of $origin, http://"
  id=$(grep -oE 'statement [0-9a-f]{64}' <<<"$out" | cut -d ' ' -f 2)
  until_it curl -sf "$tracker/closure/$id.json"
  must_say '"verdict":"16 of 19 outputs are reproduced; 2 came out differently'
  verdict=$(grep -oE '"verdict":"[^"]*' <<<"$out" | cut -d '"' -f 4)
  say "$tracker/closure/$id: $verdict"
  quietly 0 - curl -sf -H 'Accept: text/html' "$tracker/closures"
  must_say "/closure/$id\"?>machine-a"
}

# days_ago N is a time, in UTC.
days_ago() { TZ=UTC printf '%(%Y-%m-%dT%H:%M:%SZ)T' $((EPOCHSECONDS - $1 * 86400)); }
