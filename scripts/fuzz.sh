#!/usr/bin/env bash
# Fuzzes the reader of logs with cargo-fuzz (libFuzzer), starting from the small real logs of testdata/.
#
# usage: scripts/fuzz.sh [SECONDS [TARGET…]]     (default: 60 seconds for each target of fuzz/fuzz_targets/)
#
# Installs cargo-fuzz with cargo where it is missing. Sanitizers need a nightly compiler: the installed nightly toolchain is used if
# there is one, else the stable one with RUSTC_BOOTSTRAP=1. Corpora grow in fuzz/corpus/, inputs that fail are left in fuzz/artifacts/.
# Exit code 0 when nothing failed.

set -eu
cd "$(dirname "$0")/.."

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
    sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
    exit 0
fi
seconds=${1:-60}
shift $(($# > 0 ? 1 : 0))
[[ $seconds =~ ^[0-9]+$ ]] || { echo "fuzz: SECONDS must be a number, not '$seconds'" >&2; exit 2; }

# cargo may have put it where PATH does not look.
PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
if cargo +nightly --version >/dev/null 2>&1; then
    fuzz=(cargo +nightly fuzz)
else
    export RUSTC_BOOTSTRAP=1
    fuzz=(cargo fuzz)
fi

# Seeds: every real log of at most 16 KiB. libFuzzer takes a target's inputs apart from their end, so seeds are logs as they are.
seeds=fuzz/corpus/seeds
mkdir -p "$seeds"
while IFS= read -r log; do
    cp -f "$log" "$seeds/$(printf %s "$log" | sha256sum | cut -c1-16)"
done < <(find testdata/format testdata/docker-20.10 -name '*.log' -size -17k)
echo "fuzz: $(find "$seeds" -type f | wc -l) seeds"

targets=("$@")
((${#targets[@]})) || mapfile -t targets < <(find fuzz/fuzz_targets -name '*.rs' -exec basename {} .rs \; | sort)
failed=0
for target in "${targets[@]}"; do
    mkdir -p "fuzz/corpus/$target"
    echo "fuzz: $target for $seconds s"
    "${fuzz[@]}" run "$target" "fuzz/corpus/$target" "$seeds" -- -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=65536 -print_final_stats=1 || failed=1
done
exit "$failed"
