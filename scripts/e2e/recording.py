"""Writes the logs of the scenarios and their truth to a directory, as test data for the project's own tests."""

import dataclasses
import json

from freshness import FRESHNESS
from scenarios import SCENARIOS

# A log larger than this is left to the end-to-end test: the repository keeps small ones.
LARGEST = 64 * 1024


def sparse(value):
    """A dataclass as JSON, without what is not known."""
    if dataclasses.is_dataclass(value):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return {name: sparse(v) for name, v in fields.items() if v is not None and v is not False and v != [] and v != ""}
    if isinstance(value, list):
        return [sparse(v) for v in value]
    return value


def write_all(workshop, version, directory):
    """Runs every scenario and writes NAME.log, truth.json and README.md; gives the exit code."""
    directory.mkdir(parents=True, exist_ok=True)
    for old in directory.glob("*.log"):
        old.unlink()
    truths, rows, bad, left_out = {}, [], 0, []
    for scenario in (*SCENARIOS, *FRESHNESS):
        for made in scenario(workshop):
            for problem in made.problems:
                print(f"FAIL  {made.name}: {problem}")
                bad += 1
            if len(made.log) > LARGEST:
                left_out.append(made.name)
                continue
            (directory / f"{made.name}.log").write_bytes(made.log)
            entry = {"what": made.what, "commands": made.commands, "dockerfile": made.dockerfile, "builds": [sparse(t) for t in made.truths]}
            if made.checkout:
                entry["copied"] = [sparse(c) for c in made.checkout.copied]
                entry["bust"] = made.checkout.bust
            truths[made.name] = entry
            code = max((abs(t.exit_code) for t in made.truths), default=0)
            ended = f"killed by signal {code}" if any(t.exit_code < 0 for t in made.truths) else str(code)
            more = len(made.commands) - 1
            many = f" and {more} more build{'s' if more > 1 else ''}" if more else ""
            rows.append(f"| {made.name} | `{made.commands[0]}`{many} | {ended} | {made.what} |")
            print(f"ok    {made.name}: {len(made.log)} bytes")
    (directory / "truth.json").write_text(json.dumps(truths, indent=1) + "\n")
    (directory / "README.md").write_text(README.format(version=version, rows="\n".join(rows), left_out=", ".join(left_out) or "none"))
    print(f"{len(rows)} passed, {bad} failed")
    return 1 if bad else 0


README = """# Logs of a real Docker 20.10 engine, with the truth of each build

Written by `scripts/record-testdata.sh`, which runs the scenarios of `scripts/e2e/` on an engine of its own. All logs are of
one engine: {version} (Debian's docker.io), without network; the base image `busybox:1.35` is Debian's static busybox. A log
holds standard output and standard error of the command as they came, byte for byte. Recording again gives other digests,
identifiers, times and orders of parallel steps.

`truth.json` says what really happened, one entry a log, found without reading the log: from the exit code, the image
(`docker inspect`, `save`, `export`), the Dockerfile and files that the steps wrote. A field that is not there is not known.
Per build: `engine`, `outcome`, `exit_code`, `image_id`, `layers`, `context_bytes` (the exact size of the context transfer, computed
from the files; the log rounds it), and `steps`: the numbered instructions with `status` (from the layer's creation time in the image's
history; of a failing build by what its Dockerfile does), `log_lines` (lines of its own output), and bounds of its seconds.
`shared` marks a FROM that stages have in common: it is printed once, under either name. `may_miss`: a failing build
does not print every step. For the repositories of `scripts/e2e/freshness.py`, `copied` says of each COPY whether the image holds
the files of the commit (`fresh`) or not (`stale`, with the paths), and `bust` which value of the cache-bust argument was
passed and which one the step printed.

What this engine does otherwise than newer BuildKits, seen here: ONBUILD triggers are numbered but not counted in the total
(`[4/3] WORKDIR /app` in onbuild.log); output without a newline at its end has the step's terminal line glued to it
(`no newline#7 DONE` in long-output.log); after Ctrl-C the log ends with a bare `context canceled`.

| log | command | exit code | what it shows |
|---|---|---|---|
{rows}

Too large to keep, and so only in the end-to-end test: {left_out}.
"""
