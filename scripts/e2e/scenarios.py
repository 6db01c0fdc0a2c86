"""Builds that show one thing each: the log as docker wrote it, and beside it what really happened.

Every scenario is a function that takes a Workshop and yields Recordings. A scenario begins with an engine that has
forgotten everything, and with a client that the engine has never seen, so no scenario depends on another.
"""

import dataclasses
import pathlib

import signal

from engine import Engine, EngineError
from truth import Truth, context_transfer, mark_from_history, mark_legacy_history, read_dockerfile

UUID = "cat /proc/sys/kernel/random/uuid"
NOW = "cut -d' ' -f1 /proc/uptime"
# The printer of 20.10 turns to another running step after some ten seconds, not before.
LONG_ENOUGH_TO_INTERLEAVE = 13

APP = f"""FROM busybox:1.35
WORKDIR /app
RUN {UUID} > /ran-setup
COPY src src
RUN {NOW} > /start; wc -l src/*.py | tee /printed; sleep 1; {NOW} > /end; {UUID} > /ran-build
ENV MODE=production
CMD ["sh"]
"""


@dataclasses.dataclass
class Recording:
    """One log and the truth of each build in it. `problems` names what two sources of truth disagree about."""

    name: str
    what: str
    log: bytes
    commands: list
    truths: list
    problems: list = dataclasses.field(default_factory=list)
    # Where the log's own text is not BuildKit's at all, bklog must refuse it.
    not_a_log: bool = False
    dockerfile: str = ""
    # Where git knows more than the log: a freshness.Checkout.
    checkout: object = None


class Workshop:
    """Gives every scenario a directory and an engine's client of its own."""

    def __init__(self, work):
        self.work = pathlib.Path(work)
        self.number = 0

    def fresh(self, name):
        """An Engine with nothing in its cache, and an empty directory."""
        self.number += 1
        place = self.work / f"{self.number:02d}-{name}"
        context = place / "context"
        context.mkdir(parents=True)
        engine = Engine(place / "client")
        engine.forget()
        return engine, context


def write(context, files):
    """Writes files by their path in the context."""
    for path, text in files.items():
        target = context / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)


def source(name, lines=60):
    """A source file of some 2 kB: large against the listing of a context, so that a transfer of it shows."""
    return "".join(f"{name}_{n:03d} = 'value {n:03d} of {name}'\n" for n in range(lines))


def seconds_between(image, start, end):
    """The time between two readings of /proc/uptime that a step wrote into the image."""
    return float(image.text(end)) - float(image.text(start))


def lines_of(text):
    """The number of lines of a step's output, as the step itself kept it in the image."""
    return len(text.splitlines())


def succeeded(build, dockerfile, tag, problems, arguments=None, onbuild=()):
    """The truth of a build that made an image."""
    steps = read_dockerfile(dockerfile, arguments, onbuild)
    if build.exit_code or build.image is None:
        problems.append(f"the build failed with {build.exit_code}: {build.log[-400:].decode(errors='replace')}")
        return Truth("buildkit", "failed", build.exit_code, steps)
    last = mark_from_history(steps, build, problems)
    stages = {s.stage for s in steps}
    if len(stages) == 1 and build.image.layers != 1 + len(last):
        problems.append(f"{build.image.layers} layers for {len(last)} steps on a base of one layer")
    return Truth("buildkit", "succeeded", 0, steps, build.image.id, f"docker.io/library/{tag}", build.image.layers)


def time_step(truth, build, keyword, contains, start, end):
    """Bounds a step's duration by the clock that it wrote into the image and by the wall time of the build."""
    step = truth.step(keyword, contains)
    if step.status == "done":
        step.min_seconds = round(seconds_between(build.image, start, end), 2)
        step.max_seconds = round(build.seconds, 2)


def mark_output(truth, build, keyword, contains, path):
    """A step that ran printed what it kept in `path`; a cached one printed nothing."""
    step = truth.step(keyword, contains)
    step.log_lines = lines_of(build.image.text(path)) if step.status == "done" else 0


def app_truth(build, problems, tag="app"):
    truth = succeeded(build, APP, tag, problems)
    if build.image:
        mark_output(truth, build, "RUN", "printed", "/printed")
        time_step(truth, build, "RUN", "printed", "/start", "/end")
        for step in truth.steps:
            if step.keyword in ("COPY", "WORKDIR"):
                step.log_lines = 0
    return truth


def record(name, what, builds, truths, problems, dockerfile="", **more):
    """Joins the builds' logs as a shell's `>> log` does."""
    return Recording(name, what, b"".join(b.log for b in builds), [b.command for b in builds], truths, problems, dockerfile=dockerfile, **more)


def same(problems, what, left, right, equal=True):
    """Notes a problem when two sources of truth contradict each other."""
    if (left == right) != equal:
        problems.append(f"{what}: {left!r} {'differs from' if equal else 'equals'} {right!r}")


def life_of_an_app(workshop):
    """First build, the same again, changed source, --no-cache: the everyday life of one Dockerfile."""
    engine, context = workshop.fresh("app")
    write(context, {"Dockerfile": APP, "src/main.py": source("main"), "src/auth.py": source("auth"), "unused.txt": source("unused")})

    first, problems = engine.build(context, tag="app"), []
    truth = app_truth(first, problems)
    truth.context_bytes = context_transfer(context, ["src"], ["src/main.py", "src/auth.py"])
    yield record("first", "first build: every step runs", [first], [truth], problems, APP)

    again, problems = engine.build(context, tag="app"), []
    truth = app_truth(again, problems)
    truth.context_bytes = context_transfer(context, ["src"], [])
    same(problems, "image of an unchanged build", again.image.id, first.image.id)
    same(problems, "file of a cached step", again.image.text("/ran-build"), first.image.text("/ran-build"))
    yield record("again", "the same build again: every step is CACHED", [again], [truth], problems, APP)

    write(context, {"src/auth.py": source("auth", 61)})
    changed, problems = engine.build(context, tag="app"), []
    truth = app_truth(changed, problems)
    truth.context_bytes = context_transfer(context, ["src"], ["src/auth.py"])
    same(problems, "file of the cached RUN", changed.image.text("/ran-setup"), first.image.text("/ran-setup"))
    same(problems, "file of the RUN below the COPY", changed.image.text("/ran-build"), first.image.text("/ran-build"), equal=False)
    same(problems, "the changed file", changed.image.text("/app/src/auth.py"), source("auth", 61))
    yield record("changed", "one source file changed: COPY and what stands below it run", [changed], [truth], problems, APP)

    anew, problems = engine.build(context, "--no-cache", tag="app"), []
    truth = app_truth(anew, problems)
    truth.context_bytes = context_transfer(context, ["src"], [])
    same(problems, "file of a RUN under --no-cache", anew.image.text("/ran-setup"), changed.image.text("/ran-setup"), equal=False)
    yield record("no-cache", "--no-cache: RUN and COPY run again although nothing changed", [anew], [truth], problems, APP)


def two_builds(workshop):
    """Two builds whose output went into one file."""
    engine, context = workshop.fresh("two-builds")
    other = f"FROM busybox:1.35\nRUN {UUID} > /ran\nRUN echo one; echo two\n"
    write(context, {"Dockerfile": APP, "src/main.py": source("main"), "worker/Dockerfile": other})
    problems = []
    one = engine.build(context, tag="app")
    two = engine.build(context / "worker", tag="worker")
    truths = [app_truth(one, problems), succeeded(two, other, "worker", problems)]
    truths[1].step("RUN", "echo one").log_lines = 2
    yield record("two-builds", "two builds in one log", [one, two], truths, problems, APP)


def failing_run(workshop):
    """A RUN that prints and then fails."""
    engine, context = workshop.fresh("failing-run")
    text = "FROM busybox:1.35\nRUN echo fine > /fine\nRUN seq 1 14; echo to stderr >&2; exit 3\nRUN echo never\n"
    write(context, {"Dockerfile": text})
    build = engine.build(context, tag="failing")
    steps = read_dockerfile(text)
    steps[1].status, steps[2].status, steps[2].log_lines = "done", "error", 15
    yield record("failing-run", "a RUN exits with 3", [build], [Truth("buildkit", "failed", build.exit_code, steps, may_miss=True)], [], text)


def failing_copy(workshop):
    """A COPY of a file that is not there, and one of a file that the ignore file keeps out."""
    for name, text, ignore in (("failing-copy", "FROM busybox:1.35\nCOPY here.txt /\nCOPY missing.txt /\n", ""),
                               ("ignored-copy", "FROM busybox:1.35\nCOPY secret.txt /\n", "secret.txt\n")):
        engine, context = workshop.fresh(name)
        write(context, {"Dockerfile": text, "here.txt": "here\n", "secret.txt": "x\n", ".dockerignore": ignore})
        build = engine.build(context, tag="failing")
        steps = read_dockerfile(text)
        steps[-1].status = "error"
        what = "a COPY of a file that is not there" if not ignore else "a COPY of a file that .dockerignore keeps out"
        yield record(name, what, [build], [Truth("buildkit", "failed", build.exit_code, steps, may_miss=True)], [], text)


def parallel_stages(workshop):
    """Two stages that run at the same time and print all the while, so the log turns from one to the other."""
    engine, context = workshop.fresh("parallel")
    rounds = int(LONG_ENOUGH_TO_INTERLEAVE / 0.5)

    def stage(name):
        return (f"FROM busybox:1.35 AS {name}\n"
                f"RUN {NOW} > /start; for i in $(seq 1 {rounds}); do echo {name} $i; echo {name} $i >> /{name}; sleep 0.5; done; {NOW} > /end\n")

    text = stage("web") + stage("api") + ("FROM busybox:1.35\nCOPY --from=web /web /start /end /web/\n"
                                          "COPY --from=api /api /start /end /api/\nRUN cat /web/web /api/api > /both\n")
    write(context, {"Dockerfile": text})
    build, problems = engine.build(context, tag="parallel"), []
    truth = succeeded(build, text, "parallel", problems)
    for name in ("web", "api"):
        step = next(s for s in truth.steps if s.stage == name and s.keyword == "RUN")
        step.status, step.log_lines = "done", lines_of(build.image.text(f"/{name}/{name}"))
        step.min_seconds = round(seconds_between(build.image, f"/{name}/start", f"/{name}/end"), 2)
        step.max_seconds = round(build.seconds, 2)
    overlap = min(float(build.image.text(f"/{n}/end")) for n in ("web", "api")) - max(float(build.image.text(f"/{n}/start")) for n in ("web", "api"))
    if overlap < LONG_ENOUGH_TO_INTERLEAVE / 2:
        problems.append(f"the stages ran together for {overlap:.1f} s only, so nothing interleaved")
    yield record("parallel", "two stages run at the same time and the log turns between them", [build], [truth], problems, text)


def canceled_stage(workshop):
    """A stage that fails while another still runs: the other is canceled."""
    engine, context = workshop.fresh("canceled")
    text = ("FROM busybox:1.35 AS slow\nRUN echo slow begins; sleep 60; echo slow ends\n"
            "FROM busybox:1.35 AS broken\nRUN echo broken begins; sleep 2; exit 1\n"
            "FROM busybox:1.35\nCOPY --from=slow /etc/passwd /a\nCOPY --from=broken /etc/passwd /b\n")
    write(context, {"Dockerfile": text})
    build, problems = engine.build(context, tag="canceled"), []
    steps = read_dockerfile(text)
    for step in steps:
        if step.keyword == "RUN":
            step.status, step.log_lines = ("canceled" if step.stage == "slow" else "error"), 1
    if build.seconds > 30:
        problems.append(f"the build took {build.seconds:.0f} s: the slow stage was not canceled")
    yield record("canceled-stage", "one stage fails while another runs: that one is CANCELED", [build],
                 [Truth("buildkit", "failed", build.exit_code, steps, may_miss=True)], problems, text)


def interrupted(workshop):
    """Ctrl-C in the middle of a RUN, and a client that is killed there."""
    text = "FROM busybox:1.35\nRUN echo before > /before\nRUN echo now running; sleep 60; echo never\n"
    for name, sent, outcome, status, what in (
            ("interrupted", signal.SIGINT, "canceled", "canceled", "Ctrl-C while a RUN is running (SIGINT to the process group)"),
            ("killed", signal.SIGKILL, "truncated", "unfinished", "the client is killed while a RUN is running: the log just ends")):
        engine, context = workshop.fresh(name)
        write(context, {"Dockerfile": text})
        # The second "now running" is the output; the first stands in the step's name.
        build = engine.build(context, tag=name, interrupt=" now running\n", sent=sent)
        problems = [] if build.seconds < 30 and build.exit_code else [f"exit {build.exit_code} after {build.seconds:.0f} s: not interrupted"]
        steps = read_dockerfile(text)
        steps[1].status, steps[2].status, steps[2].log_lines = "done", status, 1
        yield record(name, what, [build], [Truth("buildkit", outcome, build.exit_code, steps, may_miss=True)], problems, text)


def onbuild(workshop):
    """A base image whose ONBUILD triggers become steps of the build."""
    engine, context = workshop.fresh("onbuild")
    base = "FROM busybox:1.35\nONBUILD COPY src /onbuild\nONBUILD RUN cat /onbuild/main.py | wc -l > /counted\n"
    write(context, {"Dockerfile": base, "src/main.py": source("main")})
    parent = engine.build(context, tag="parent")
    if parent.image is None:
        raise EngineError(f"the ONBUILD base did not build: {parent.log.decode(errors='replace')}")
    text = f"FROM parent AS app\nWORKDIR /app\nRUN {UUID} > /ran\n"
    write(context, {"Dockerfile": text})
    build, problems = engine.build(context, tag="child"), []
    truth = succeeded(build, text, "child", problems, onbuild=parent.image.onbuild)
    same(problems, "file of the ONBUILD RUN", build.image.text("/counted").strip(), "60")
    yield record("onbuild", "a base image with ONBUILD triggers", [build], [truth], problems, text)


def arguments(workshop):
    """ARG before FROM, and build args that steps show."""
    engine, context = workshop.fresh("arguments")
    text = 'ARG BASE=scratch\nARG EARLY=1\nFROM $BASE\nARG WHO=world\nRUN echo "hello $WHO" | tee /hello\nRUN echo "early: $EARLY" | tee /early\nCOPY $WHO.txt /\n'
    write(context, {"Dockerfile": text, "moon.txt": "moon\n"})
    build, problems = engine.build(context, "--build-arg", "BASE=busybox:1.35", "--build-arg", "WHO=moon", tag="arguments"), []
    truth = succeeded(build, text, "arguments", problems, arguments={"BASE": "busybox:1.35", "WHO": "moon"})
    same(problems, "the given argument", build.image.text("/hello"), "hello moon\n")
    same(problems, "an argument that is declared before FROM only", build.image.text("/early"), "early: \n")
    mark_output(truth, build, "RUN", "hello", "/hello")
    mark_output(truth, build, "RUN", "early", "/early")
    yield record("arguments", "ARG before FROM; build args in step names", [build], [truth], problems, text)


def odd_output(workshop):
    """Output that is long, and output that looks like BuildKit's own lines."""
    engine, context = workshop.fresh("long-output")
    text = ("FROM busybox:1.35\nRUN seq 1 1500 | tee /many\nRUN head -c 30000 /dev/zero | tr '\\0' x | tee /wide; echo\n"
            "RUN printf 'a\\r50%%\\rb\\n\\n  indented\\n\\ttab\\nno newline' | tee /odd\n")
    write(context, {"Dockerfile": text})
    build, problems = engine.build(context, tag="long"), []
    truth = succeeded(build, text, "long", problems)
    same(problems, "length of the wide line", len(build.image.text("/wide")), 30000)
    truth.step("RUN", "/many").log_lines = lines_of(build.image.text("/many"))
    truth.step("RUN", "/wide").log_lines = 1
    # `\n` alone ends a line; the last one is ended by the end of the step.
    truth.step("RUN", "/odd").log_lines = build.image.text("/odd").count("\n") + 1
    yield record("long-output", "many lines, a line of 30 kB, carriage returns, no newline at the end", [build], [truth], problems, text)

    engine, context = workshop.fresh("lookalike")
    fake = ("#0 building with \"default\" instance using docker driver\n\n#5 [2/4] RUN something else\n#5 CACHED\n#6 DONE 9.9s\n#7 ERROR: no\n"
            "#7 CANCELED\n#8 ...\n\n#1 [internal] load build definition from Dockerfile\n#1 transferring context: 99MB done\n------\n > [2/4] RUN x:\n"
            "------\nERROR: failed to solve: no\nStep 3/9 : RUN fake\n ---> Using cache\nSuccessfully built 0123456789ab\n"
            "#9 writing image sha256:0000000000000000000000000000000000000000000000000000000000000000 done\n0.123 nested time\n1.5 #4 DONE 0.1s\n")
    text = "FROM busybox:1.35\nCOPY fake.txt /fake.txt\nRUN cat /fake.txt\nRUN cat /fake.txt >&2; echo '#3 CACHED' | tee /last\n"
    write(context, {"Dockerfile": text, "fake.txt": fake})
    build, problems = engine.build(context, tag="lookalike"), []
    truth = succeeded(build, text, "lookalike", problems)
    printed = lines_of(build.image.text("/fake.txt"))
    truth.steps[2].log_lines = printed
    truth.steps[3].log_lines = printed + 1
    yield record("lookalike", "output that looks like BuildKit's own lines", [build], [truth], problems, text)


def clipped_output(workshop):
    """More output than BuildKit lets through: the log says less than the step printed."""
    engine, context = workshop.fresh("clipped")
    text = "FROM busybox:1.35\nRUN seq 1 400000 | tee /many | cat\n"
    write(context, {"Dockerfile": text})
    build, problems = engine.build(context, tag="clipped"), []
    truth = succeeded(build, text, "clipped", problems)
    if lines_of(build.image.text("/many")) <= build.log.count(b"\n"):
        problems.append("the engine did not clip the output")
    truth.step("RUN").clipped = True
    yield record("clipped", "a step prints more than BuildKit's limit", [build], [truth], problems, text)


def legacy(workshop):
    """The builder before BuildKit: first, again, failing."""
    engine, context = workshop.fresh("legacy")
    text = f"FROM busybox:1.35\nENV MODE=test\nCOPY src /src\nRUN wc -l /src/main.py | tee /printed; echo to stderr >&2; {UUID} > /ran\nCMD [\"sh\"]\n"
    write(context, {"Dockerfile": text, "src/main.py": source("main")})
    before = None
    for name, what in (("legacy", "legacy builder, first build"), ("legacy-again", "legacy builder, the same again: Using cache")):
        build, problems = engine.build(context, tag="legacy", legacy=True), []
        steps = read_dockerfile(text, legacy=True)
        mark_legacy_history(steps, build, problems)
        ran = next(s for s in steps if s.keyword == "RUN")
        ran.log_lines = 2 if ran.status == "done" else 0
        if before:
            same(problems, "image of an unchanged build", build.image.id, before.image.id)
        before = build
        yield record(name, what, [build], [Truth("legacy", "succeeded", 0, steps, build.image.id, "legacy", build.image.layers)], problems, text)
    text = "FROM busybox:1.35\nRUN echo legacy fails; exit 5\nRUN echo never\n"
    write(context, {"Dockerfile": text})
    build = engine.build(context, tag="legacy", legacy=True)
    steps = read_dockerfile(text, legacy=True)
    steps[1].status, steps[1].log_lines = "error", 1
    problems = [] if build.exit_code == 5 else [f"docker exited with {build.exit_code}, the command with 5"]
    yield record("legacy-failing", "legacy builder, a RUN exits with 5", [build],
                 [Truth("legacy", "failed", build.exit_code, steps, may_miss=True)], problems, text)


def quiet(workshop):
    """A quiet build prints the image's id and nothing else: no log of a build at all."""
    engine, context = workshop.fresh("quiet")
    write(context, {"Dockerfile": APP, "src/main.py": source("main")})
    build = engine.build(context, "--quiet", tag="quiet")
    problems = []
    same(problems, "the printed id", build.log.decode().strip(), build.image.id)
    yield record("quiet", "--quiet: only the image's id", [build], [], problems, APP, not_a_log=True)


def no_dockerfile(workshop):
    """A build that fails before its first instruction."""
    engine, context = workshop.fresh("no-dockerfile")
    build = engine.build(context, tag="none")
    yield record("no-dockerfile", "no Dockerfile: the build fails before its first step", [build],
                 [Truth("buildkit", "failed", build.exit_code, [])], [] if build.exit_code else ["docker exited with 0"])


SCENARIOS = (life_of_an_app, two_builds, failing_run, failing_copy, parallel_stages, canceled_stage, interrupted, onbuild, arguments,
             odd_output, clipped_output, legacy, quiet, no_dockerfile)

