#!/usr/bin/env bash
# Sees to the programs that tests and the demo use beside Go. As root on a
# Debian-like system what is missing is installed; otherwise one line says what
# to install.
#
# usage: deploy/apt.sh [--demo]    with --demo only what the demo uses, and something
#                                  missing is an error
set -euo pipefail

demo=no
[[ ${1-} != --demo ]] || demo=yes

# command:package; the command is what is looked for.
wanted=(
  nix-store:nix-bin
  busybox:busybox-static
  bwrap:bubblewrap
  ssh-keygen:openssh-client
  curl:curl
)
[[ $demo == yes ]] || wanted+=(
  openssl:openssl
  sqlite3:sqlite3
  fusermount3:fuse3
  strace:strace
  ip:iproute2
  systemd-analyze:systemd
  chromium:chromium
)

missing=()
look() {
  missing=()
  local entry
  for entry in "${wanted[@]}"; do
    command -v "${entry%%:*}" >/dev/null || missing+=("${entry#*:}")
  done
  [[ $demo == no ]] || return 0
  # Debian keeps the server's programs out of $PATH.
  command -v initdb >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || missing+=(postgresql)
}

look
[[ ${#missing[@]} -gt 0 ]] || exit 0

if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
  echo "installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  log=$(mktemp)
  trap 'rm -f "$log"' EXIT
  if ! { apt-get -q update && apt-get -q install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 </dev/null; then
    tail -n 20 "$log" >&2
  fi
  look
  [[ ${#missing[@]} -gt 0 ]] || exit 0
fi

echo "not installed; on Debian: apt-get install ${missing[*]}" >&2
[[ $demo == no ]]
