#!/usr/bin/env bash
# Runs the README's commands against a host that listens where they say, and compares what they print with what it shows.
# Checked is every `sh` block that a `text` block follows at once. With an argument: only those that name it.
#
#   tests/readme.sh            the blocks for port 7071
#   tests/readme.sh :7072      those that name this port
set -u
cd "$(dirname "$0")/.." || exit 1
wanted="${1:-:7071}"
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT

awk -v work="$work" '
  /^```sh$/ { count++; kind = "sh"; file = work "/" sprintf("%02d", count) ".sh"; printf "" > file; after = 0; next }
  /^```text$/ && after { kind = "text"; file = work "/" sprintf("%02d", count) ".text"; printf "" > file; next }
  /^```/ { after = (kind == "sh"); if (kind != "") close(file); kind = ""; next }
  kind != "" { print > file; next }
  NF { after = 0 }
' README.md

failed=0
ran=0
for shown in "$work"/*.text; do
  commands="${shown%.text}.sh"
  grep -q -- "$wanted" "$commands" || continue
  ran=$((ran + 1))
  if ! diff "$shown" <(bash "$commands" 2>&1); then
    echo "the README shows (<) what these commands do not print (>):" >&2
    cat "$commands" >&2
    failed=1
  fi
done
[ "$ran" -gt 0 ] || { echo "no block of the README names $wanted" >&2; exit 1; }
[ "$failed" = 0 ] && echo "$ran blocks of the README print what it shows"
exit "$failed"
