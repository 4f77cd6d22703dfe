#!/usr/bin/env bash
# Makes roots of newer Debian releases, each with a newer Nix, for tests that run in
# them (FIRN_NIX226, FIRN_NIX234): FOLDER/trixie and FOLDER/sid, 350 MB each. It uses the
# mirror that apt uses. It needs root, and leaves what is there and whole as it is.
#
# usage: deploy/nixes.sh FOLDER
set -euo pipefail

folder=$1
mkdir -p "$folder"
if ! command -v debootstrap >/dev/null; then
  DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends debootstrap >"$folder/apt.log" 2>&1 </dev/null ||
    { tail -n 5 "$folder/apt.log" >&2 && exit 1; }
fi
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -n 1)
make_root() {
  [[ ! -e $folder/$1/whole ]] || return 0
  rm -rf "${folder:?}/$1"
  debootstrap --variant=minbase --include=libdbi-perl,nix-bin,busybox-static,ca-certificates,sqlite3 "$1" "$folder/$1" "$mirror" >"$folder/$1.log" 2>&1 ||
    { tail -n 5 "$folder/$1.log" >&2 && return 1; }
  touch "$folder/$1/whole"
}
make_root trixie &
make_root sid
wait $!
