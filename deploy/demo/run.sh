#!/usr/bin/env bash
# The demo: four operators build the same packages with stock Nix, each in a
# store of its own, and one of them lies; somebody who built nothing asks the
# log whom to believe, and lets into a machine only what it believes. In the end
# the log lies, too.
#
# Everything happens in a temporary folder and on loopback, as an ordinary user
# or as root, and is cleaned up at the end. KEEP=1 leaves it up with commands to
# try. FIRN_DEMO_BIN names the folder of the programs, bin/ if it is not set.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bin=$(cd "${FIRN_DEMO_BIN:-$here/../../bin}" && pwd)
demo=$(mktemp -d "${TMPDIR:-/tmp}/firn-demo.XXXXXX")
# Nothing of the demo goes into the home of whoever runs it.
export HOME=$demo/home XDG_STATE_HOME=$demo/state XDG_CONFIG_HOME=$demo/config
unset SSH_AUTH_SOCK FIRN_POLICY FIRN_SPOOL FIRN_TRACKER
source "$here/lib.sh"
source "$here/steps.sh"
source "$here/tracker.sh"

finish() {
  local status=$?
  trap - EXIT
  if [[ -n ${KEEP-} && $status == 0 ]]; then
    how_to_go_on
    exit 0
  fi
  stop_all
  chmod -R u+w "$demo"
  rm -rf "$demo"
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

bwrap --dev-bind / / true 2>/dev/null ||
  fail "bwrap cannot make a mount namespace here: allow user namespaces for ordinary users, or run this as root"
say "everything is in $demo and on loopback"

make_machines
make_log
make_operators
build_everything
submit_everything
lose_a_witness
ask_before_use
import_a_cache
protect_a_machine
rebuild_from_clean
follow_with_a_tracker
find_tampering
stop_the_log
hide_a_dissent
fork_the_log

headline "Every verdict was what it must be (${SECONDS} s)"
[[ -n ${KEEP-} ]] || say "make demo KEEP=1 leaves it up, with commands to try"
