"""Holds the JSON of `bklog show` and `bklog check` against the truth of a Recording."""

import json
import subprocess

# A step's time is printed with one digit, and the clock in the image starts a little later than BuildKit's.
SECONDS_TOLERANCE = 0.15
# The exit codes of bklog: its README says what each means.
FINE, FINDINGS, NOT_A_LOG, BUILD_FAILED = 0, 1, 3, 4


def run(bklog, *arguments, directory=None):
    """Runs bklog; gives its exit code, its JSON (None where there is none) and its standard error."""
    done = subprocess.run([bklog, *arguments, "--format", "json"], cwd=directory, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    try:
        document = json.loads(done.stdout)
    except ValueError:
        document = None
    return done.returncode, document, done.stderr.decode(errors="replace").strip()


def check_recording(checks, recording, log, bklog):
    """All checks of one recording. `log` is the file that holds its bytes."""
    for problem in recording.problems:
        checks.that(False, f"{recording.name}: the sources of truth agree", problem)
    code, document, errors = run(bklog, "show", str(log))
    if recording.not_a_log:
        checks.equal(code, NOT_A_LOG, f"{recording.name}: exit code of an input that is no build log")
        checks.that(bool(errors), f"{recording.name}: says why it reads nothing")
        return
    bad = any(truth.outcome != "succeeded" for truth in recording.truths)
    checks.equal(code, BUILD_FAILED if bad else FINE, f"{recording.name}: exit code of show")
    if document is None:
        checks.that(False, f"{recording.name}: show prints JSON", errors[-300:])
        return
    checks.equal(document.get("schema"), "bklog.show/1", f"{recording.name}: schema")
    builds = document.get("builds", [])
    if not checks.equal(len(builds), len(recording.truths), f"{recording.name}: number of builds"):
        return
    for number, (build, truth) in enumerate(zip(builds, recording.truths), 1):
        label = recording.name if len(builds) == 1 else f"{recording.name}, build {number}"
        check_build(checks, label, build, truth)


def check_build(checks, label, build, truth):
    """One build of a log against the truth of it."""
    checks.equal(build.get("engine"), truth.engine, f"{label}: engine")
    checks.equal(build.get("outcome"), truth.outcome, f"{label}: outcome (docker exited with {truth.exit_code})")
    image = build.get("image") or {}
    if truth.image_id and truth.engine == "buildkit":
        checks.equal(image.get("digest"), truth.image_id, f"{label}: image id as docker inspect says it")
        names = [name.removesuffix(":latest") for name in image.get("names", [])]
        checks.that(truth.image_name in names, f"{label}: image name {truth.image_name}", names)
    elif truth.image_id:  # the legacy builder prints the first twelve digits
        printed = (image.get("digest") or "").removeprefix("sha256:")
        checks.that(len(printed) >= 12 and truth.image_id.removeprefix("sha256:").startswith(printed), f"{label}: image id", image.get("digest"))
    elif truth.exit_code:
        checks.that(not image.get("digest"), f"{label}: no image in a build that made none", image.get("digest"))
    steps = build.get("steps", [])
    indexes = [step["index"] for step in steps]
    checks.equal(len(indexes), len(set(indexes)), f"{label}: every index once")
    instructions = [step for step in steps if step.get("kind") == "instruction"]
    check_instructions(checks, label, instructions, truth)
    if truth.context_bytes is not None:
        contexts = [step for step in steps if step.get("kind") == "context"]
        printed = contexts[0].get("transferred_bytes") if contexts else None
        near = printed is not None and abs(printed - truth.context_bytes) <= (0 if truth.context_bytes < 1000 else truth.context_bytes * 0.005)
        checks.that(near, f"{label}: context transfer of {truth.context_bytes} bytes", printed)
    if build.get("duration") is not None and truth.steps:
        sure = max((step.min_seconds or 0) for step in truth.steps)
        checks.that(build["duration"]["seconds"] >= sure - SECONDS_TOLERANCE, f"{label}: duration of at least {sure} s", build["duration"])


def check_instructions(checks, label, instructions, truth):
    """The numbered steps: each that really exists is there, once and right, and no other."""
    left = list(instructions)
    shared = [step for step in truth.steps if step.shared]
    if shared:
        found = [step for step in left if step.get("keyword") == "FROM"]
        checks.that(bool(found) or truth.may_miss, f"{label}: the base image's step")
        left = [step for step in left if step.get("keyword") != "FROM"]
    for step in truth.steps:
        if step.shared:
            continue
        got = next((s for s in left if is_same(s, step)), None)
        if got is None:
            known = step.status is not None
            checks.that(truth.may_miss and not known, f"{label}: step {step.name or step.text!r:.70}", [s.get("name") for s in left][:6])
            continue
        left.remove(got)
        check_step(checks, f"{label}: {step.name or step.text:.60}", got, step)
    checks.equal([step.get("name") for step in left], [], f"{label}: no step that is not in the Dockerfile")


def is_same(got, step):
    """Whether a step of the JSON is this instruction. FROM is printed with its full reference, so its text is not compared."""
    return (got.get("number"), got.get("stage")) == (step.number, step.stage) and (step.keyword == "FROM" or step.text in (got.get("name") or ""))


def check_step(checks, label, got, step):
    """One instruction, field by field."""
    wrong = []
    if step.name and got.get("name") != step.name:
        wrong.append(f"name {got.get('name')!r}, in the Dockerfile {step.name!r}")
    if got.get("keyword") != step.keyword:
        wrong.append(f"keyword {got.get('keyword')!r}")
    if got.get("total") != step.total:
        wrong.append(f"total {got.get('total')!r}, in the Dockerfile {step.total}")
    if step.status is not None and got.get("status") != step.status:
        wrong.append(f"status {got.get('status')!r}, really {step.status}")
    if step.log_lines is not None and got.get("log_lines") != step.log_lines:
        wrong.append(f"{got.get('log_lines')} lines of output, really {step.log_lines}")
    if step.clipped is not None and got.get("clipped") != step.clipped:
        wrong.append(f"clipped {got.get('clipped')!r}, really {step.clipped}")
    if step.min_seconds is not None:
        seconds = got.get("seconds")
        if seconds is None or not step.min_seconds - SECONDS_TOLERANCE <= seconds <= step.max_seconds + SECONDS_TOLERANCE:
            wrong.append(f"{seconds} s, really between {step.min_seconds} and {step.max_seconds} s")
    if step.status == "error" and not got.get("error"):
        wrong.append("no error text")
    if step.status == "cached" and got.get("seconds") is not None:
        wrong.append(f"{got['seconds']} s for a cached step")
    if step.keyword == "COPY" and step.text.count(" ") == 2 and "--" not in step.text:
        _, source, destination = step.text.split(" ")
        if got.get("sources") != [source] or got.get("destination") != destination:
            wrong.append(f"copies {got.get('sources')!r} to {got.get('destination')!r}")
    if step.keyword == "COPY" and "--from=" in step.text:
        origin = step.text.split("--from=")[1].split(" ")[0]
        if got.get("from") != origin:
            wrong.append(f"copies from {got.get('from')!r}, really {origin!r}")
    checks.that(not wrong, label, "; ".join(wrong))


def check_freshness(checks, recording, log, bklog, history):
    """Runs `bklog check` where and when the build ran and holds its verdicts against the image: from the image alone, then with the ledger,
    which records every run."""
    checkout, label = recording.checkout, f"check {recording.name}"
    commands = [command.split(" ", 1)[1] if command.startswith("DOCKER_BUILDKIT=") else command for command in checkout.commands]
    arguments = ["check", str(log), *(word for command in commands for word in ("--build", command)), "--commit", checkout.commit, "--project", "e2e"]
    if checkout.archive:
        archive = log.with_suffix(".tar")
        archive.write_bytes(checkout.archive)
        code, document, errors = run(bklog, *arguments, "--image", str(archive), directory=checkout.directory)
        last = max(copied.build for copied in checkout.copied)
        hold(checks, f"{label}, by the image", [c for c in checkout.copied if c.build == last], code, document, errors)
        archive.unlink()
    code, document, errors = run(bklog, *arguments, "--history", str(history), "--record", directory=checkout.directory)
    hold(checks, label, checkout.copied, code, document, errors, policy=bool(checkout.bust))
    if document is None:
        return
    checks.that(bool(document.get("recorded_as")), f"{label}: the run is recorded")
    rules = {(f.get("build"), f.get("rule")) for f in document.get("findings", [])}
    for number, bust in enumerate(checkout.bust):
        found = sorted(rule for build, rule in rules if build == number and rule.startswith("bust-"))
        if bust["passed"] is None:
            checks.that(bool(found), f"{label}: build {number} says that {bust['argument']} did not take effect", found)
        elif bust["passed"] == bust["printed"]:
            checks.that("bust-missing" not in found, f"{label}: build {number} does not call a passed {bust['argument']} missing", found)


def hold(checks, label, copies, code, document, errors, policy=False):
    """Holds the verdicts of a check against the truth of the copies. With `policy` the exit code may be that of other findings."""
    if document is None:
        checks.that(False, f"{label}: prints JSON", f"exit {code}: {errors[-300:]}")
        return
    checks.equal(document.get("schema"), "bklog.check/1", f"{label}: schema")
    left = list(document.get("steps", []))
    for copied in copies:
        what = f"{label}: build {copied.build}, {copied.text} is {copied.status} and {copied.truth}"
        got = next((s for s in left if s.get("build") == copied.build and copied.text in (s.get("name") or "")), None)
        if got is None:
            checks.that(False, f"{what}: there is a verdict")
            continue
        left.remove(got)
        checks.that(got.get("verdict") == copied.truth, what, f"{got.get('verdict')}: {got.get('because')}")
        if copied.truth == "stale":
            named = {path.rsplit("/", 1)[-1] for path in got.get("changed_files", [])}
            checks.equal(named, {path.rsplit("/", 1)[-1] for path in copied.differing}, f"{what}: names the files")
    if any(copied.truth == "stale" for copied in copies):
        checks.equal(code, FINDINGS, f"{label}: exit code with stale code in the image")
    elif not policy:  # what a bust that is not passed is worth is a question of policy
        checks.equal(code, FINE, f"{label}: exit code of a build that is right")
