"""What really happened in a build, found without reading its log.

Sources: the exit code of docker, the image as the engine gives it out, the Dockerfile that the scenario wrote, files that
the steps wrote into the image. A layer's `created` time in the image's history says whether its step ran in this build or
came from the cache: BuildKit and the legacy builder both keep the old time with a cached layer.
"""

import dataclasses
import pathlib
import re

# Instructions that become a numbered step; the others only change the image's configuration.
NUMBERED = ("FROM", "RUN", "COPY", "ADD", "WORKDIR")


@dataclasses.dataclass
class Step:
    """One numbered instruction and what is known of it; None stands for "not known, so not compared"."""

    keyword: str
    text: str
    number: int
    total: int
    stage: str = None
    name: str = None
    status: str = None
    log_lines: int = None
    min_seconds: float = None
    max_seconds: float = None
    clipped: bool = None
    # A FROM that two stages have in common is one step of the build, printed under either stage's name.
    shared: bool = False


@dataclasses.dataclass
class Truth:
    """One build as it really was. `outcome` and `engine` are words of bklog's own contract."""

    engine: str
    outcome: str
    exit_code: int
    steps: list
    image_id: str = None
    image_name: str = None
    layers: int = None
    # What the transfer of the context took, in bytes; the log rounds it to three digits.
    context_bytes: int = None
    # Steps that do not appear are no fault: a failing build leaves out what it did not reach.
    may_miss: bool = False

    def step(self, keyword, contains=""):
        """The first step with this keyword whose text holds `contains`."""
        return next(s for s in self.steps if s.keyword == keyword and contains in s.text)


def read_dockerfile(text, arguments=None, onbuild=(), legacy=False):
    """The numbered steps of a Dockerfile in the simple form that the scenarios write: one line an instruction.

    `arguments` replaces `$NAME` in the text as the builder does. The names follow BuildKit: `[stage n/m] TEXT`, where a Dockerfile of
    one stage has no stage in the bracket, a stage without a name is called stage-N, and n is padded to the width of m.
    `onbuild` are the triggers of the (only) base image: 20.10 numbers them after FROM but leaves them out of m, so that n can
    pass m. The legacy builder numbers every instruction.
    """
    stages = []
    for line in text.splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        for name, value in (arguments or {}).items():
            line = re.sub(r"\$\{%s\}|\$%s\b" % (name, name), lambda _: value, line)
        keyword = line.split(" ", 1)[0]
        if keyword == "FROM":
            named = re.search(r" AS (\S+)$", line)
            stages.append({"name": named[1] if named else None, "steps": [], "triggers": 0})
        if not stages:  # an ARG before the first FROM belongs to no stage
            continue
        if keyword in NUMBERED or legacy:
            stages[-1]["steps"].append((keyword, line))
        if keyword == "FROM" and onbuild:
            stages[-1]["steps"] += [(trigger.split(" ", 1)[0], trigger) for trigger in onbuild]
            stages[-1]["triggers"] = len(onbuild)
    steps = []
    for position, stage in enumerate(stages):
        label = (stage["name"] or f"stage-{position}") if len(stages) > 1 else None
        total = len(stage["steps"]) - stage["triggers"]
        for number, (keyword, shown) in enumerate(stage["steps"], 1):
            place = f"{number:>{len(str(total))}}/{total}"
            step = Step(keyword, shown, number, total, label)
            if keyword != "FROM":  # printed with the full reference of the image
                step.name = f"[{label} {place}] {shown}" if label else f"[{place}] {shown}"
            steps.append(step)
    if legacy:
        for number, step in enumerate(steps, 1):
            step.number, step.total, step.stage, step.name = number, len(steps), None, None
    for step in steps:
        step.shared = step.keyword == "FROM" and len(stages) > 1
    return steps


def varint(value):
    """The length of a protobuf varint."""
    return max(1, (value.bit_length() + 6) // 7)


def context_transfer(context, paths, sent):
    """The bytes that `[internal] load build context` takes, computed from the files and not from the log.

    `paths` are the files and directories that the Dockerfile copies, `sent` the files whose content the builder asks for.
    What goes over the wire are protobuf packets (fsutil's wire.proto): one STAT for every entry in the order of the walk, an
    empty one at the end, and for each file sent its content in pieces of 32 KiB and an empty one at the end.
    """
    context, entries = pathlib.Path(context), []
    for path in sorted(paths):
        entries.append(path)
        if (context / path).is_dir():
            entries += sorted(str(p.relative_to(context)) for p in (context / path).rglob("*"))
    total = 2
    for index, path in enumerate(entries):
        stat = (context / path).stat()
        directory = (context / path).is_dir()
        # Go's FileMode has its directory bit at the top. The time is taken as ten bytes: a nanosecond varint of nine and its tag.
        mode = (stat.st_mode & 0o777) | (1 << 31 if directory else 0)
        size = 1 + varint(len(path)) + len(path) + 1 + varint(mode) + 10
        if not directory and stat.st_size:
            size += 1 + varint(stat.st_size)
        total += 1 + varint(size) + size
        if path in sent:
            identity = 1 + varint(index) if index else 0
            left = stat.st_size
            while left:
                piece = min(left, 32768)
                total += 2 + identity + 1 + varint(piece) + piece
                left -= piece
            total += 2 + identity
    return total


def mark_from_history(steps, build, problems):
    """Gives the steps of the last stage their status from the image's history; says in `problems` what does not fit."""
    last = [s for s in steps if s.stage == steps[-1].stage and s.keyword != "FROM"]
    layered = [entry for entry in build.image.history if not entry.empty_layer]
    for step, entry in zip(reversed(last), reversed(layered)):
        if not entry.created_by.startswith(step.keyword):
            problems.append(f"history says {entry.created_by!r} where the Dockerfile says {step.text!r}")
        step.status = "done" if entry.created >= build.started else "cached"
    return last


def mark_legacy_history(steps, build, problems):
    """As mark_from_history for the legacy builder, whose history has one entry for every instruction but FROM."""
    entries = build.image.history[-(len(steps) - 1):]
    for step, entry in zip(steps[1:], entries):
        step.status = "done" if entry.created >= build.started else "cached"
    if len(entries) != len(steps) - 1:
        problems.append(f"{len(entries)} history entries for {len(steps) - 1} instructions")
