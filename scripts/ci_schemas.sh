#!/usr/bin/env bash
# Holds the CI files that users are told to copy to the published schemas of GitHub workflows and GitLab CI.
#
# usage: scripts/ci_schemas.sh
#
# The schemas come with check-jsonschema (PyPI), which is installed into target/ci-schemas and asked without a network afterwards. Exit code
# 1: a file breaks its schema, or a file that must break it does not; 2: check-jsonschema cannot be had, so nothing was checked.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly VERSION=0.39.0
readonly PLACE=target/ci-schemas

if [ ! -x "$PLACE/bin/check-jsonschema" ] || [ "$("$PLACE/bin/check-jsonschema" --version)" != "check-jsonschema, version $VERSION" ]; then
    if ! { python3 -m venv "$PLACE" && "$PLACE/bin/pip" install --quiet --disable-pip-version-check "check-jsonschema==$VERSION"; }; then
        echo "ci_schemas: NOT CHECKED: check-jsonschema $VERSION cannot be installed (needs python3-venv and PyPI)" >&2
        exit 2
    fi
fi

check() { "$PLACE/bin/check-jsonschema" --builtin-schema "vendor.$1" "${@:2}"; }

check github-workflows scripts/ci/github-actions.yml scripts/weekly/github-actions.yml
check gitlab-ci scripts/ci/gitlab-ci.yml scripts/weekly/gitlab-ci.yml

# A check that cannot fail proves nothing: each file with one key misspelled must be refused.
broken=$(mktemp -d)
trap 'rm -rf "$broken"' EXIT
for case in 'github-workflows runs-on run-on scripts/ci' 'github-workflows runs-on run-on scripts/weekly' \
    'gitlab-ci expire_in 1expire scripts/weekly' 'gitlab-ci script scripts scripts/ci'; do
    read -r schema key wrong directory <<<"$case"
    file=$([ "$schema" = gitlab-ci ] && echo gitlab-ci.yml || echo github-actions.yml)
    sed "s/^\( *\)$key:/\1$wrong:/" "$directory/$file" >"$broken/$file"
    if cmp -s "$directory/$file" "$broken/$file"; then
        echo "ci_schemas: $directory/$file has no $key any more: mend this script" >&2
        exit 1
    fi
    if check "$schema" "$broken/$file" >/dev/null 2>&1; then
        echo "ci_schemas: $directory/$file with $wrong for $key passes its schema" >&2
        exit 1
    fi
done
echo "ci_schemas: 4 files are right, and wrong ones are refused"
