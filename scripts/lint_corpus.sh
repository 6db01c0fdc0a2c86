#!/usr/bin/env bash
# Lints the repository of every scenario of a corpus: scripts/lint_corpus.sh BKLOG CORPUS
#
# Each scenario is a directory with repo.bundle (a git repository) and truth.json (what real builds of it gave). Fails where bklog lint
# crashes, hangs, or reports an error that the truth does not bear out. The only thing in those truths that is certainly wrong in a file is
# an argument under a misspelled name; the others are about the state of trees and builders.
set -euo pipefail

bklog=$(realpath "$1")
corpus=$(realpath "$2")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

failed=0
count=0
for bundle in "$corpus"/*/repo.bundle; do
    scenario=$(basename "$(dirname "$bundle")")
    # No hook and no configuration of the user has a part in it.
    if ! GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null git -c init.defaultBranch=main clone --quiet "$bundle" "$work/$scenario" 2>"$work/clone.txt"; then
        echo "FAIL $scenario: cannot be cloned: $(tail -1 "$work/clone.txt")"
        failed=1
        continue
    fi
    status=0
    timeout 20 "$bklog" lint --format json "$work/$scenario" >"$work/report.json" 2>"$work/stderr.txt" || status=$?
    count=$((count + 1))
    case "$status" in
    0) ;;
    1)
        rules=$(python3 -c 'import json, sys
for finding in json.load(open(sys.argv[1]))["findings"]:
    if finding["severity"] == "error":
        print(finding["rule"])' "$work/report.json" | sort -u | tr '\n' ' ')
        case "$scenario:$rules" in
        *misspelled*:"unknown-build-arg ") ;; # the truth says that the argument does not arrive
        *)
            echo "FAIL $scenario: errors that its truth does not bear out: $rules"
            failed=1
            ;;
        esac
        ;;
    3) ;; # nothing in it that builds an image
    *)
        echo "FAIL $scenario: exit code $status: $(tail -1 "$work/stderr.txt")"
        failed=1
        ;;
    esac
    rm -rf "${work:?}/$scenario"
done
echo "$count repositories linted"
exit "$failed"
