#!/usr/bin/env bash
# Runs govulncheck on the packages given, against an offline copy of the Go
# vulnerability database: FIRN_VULNDB, or ../shared/vulndb/index.tgz seen from
# the project's root; a .tgz or an unpacked folder. Without one it says so and
# succeeds, unless FIRN_TEST_REQUIRE names vulndb.
set -euo pipefail

cd "$(dirname "$0")/../.."
db=${FIRN_VULNDB:-../shared/vulndb/index.tgz}

if [[ ! -e $db ]]; then
  echo "govulncheck: skipped, no database at $db (FIRN_VULNDB names another)" >&2
  case ",${FIRN_TEST_REQUIRE-}," in
    *,vulndb,* | *,all,*) exit 1 ;;
  esac
  exit 0
fi

if [[ -f $db ]]; then
  unpacked=$(mktemp -d)
  trap 'rm -rf "$unpacked"' EXIT
  tar -xzf "$db" -C "$unpacked"
  db=$unpacked
fi
# The archive may hold the database in a folder of its own.
index=$(find "$db" -maxdepth 3 -path '*/index/modules.json' -print -quit)
if [[ -z $index ]]; then
  echo "govulncheck: $db holds no index/modules.json" >&2
  exit 1
fi
db=$(cd "$(dirname "$index")/.." && pwd)

go tool -modfile=internal/tools/go.mod govulncheck -db "file://$db" "$@"
