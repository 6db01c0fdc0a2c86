"""bklog at the end of a pipe behind a running build: it must be transparent, prompt, and right at the end.

These are checks and no recordings, because what counts is what happens while the build runs.
"""

import dataclasses
import os
import pathlib
import re
import shlex
import signal
import subprocess
import time

from compare import BUILD_FAILED, FINE
from engine import BUILD_TIMEOUT, limited
from scenarios import APP, source, write


@dataclasses.dataclass
class Piped:
    """What a pipeline `docker build … 2>&1 | tee RAW | bklog` did."""

    docker_exit: int
    bklog_exit: int
    raw: bytes
    passed: bytes
    report: str
    # When each piece came out of bklog, and when docker was seen to have ended; seconds of the same clock.
    arrivals: list
    docker_ended: float

    def came_out(self, pattern):
        """When the output so far first matched `pattern`; a line may come out in several pieces. None: never."""
        so_far = b""
        for at, piece in self.arrivals:
            so_far += piece
            if re.search(pattern, so_far):
                return at
        return None


def environment(engine, place):
    """The engine's client, and a home of its own, so that nothing is recorded where the caller keeps a history."""
    return engine.environment() | {"HOME": str(place), "XDG_DATA_HOME": str(place / "data"), "XDG_CONFIG_HOME": str(place / "settings")}


def pipe(engine, context, bklog, *options, tag="live", interrupt=None):
    """Builds with bklog behind it, in one process group, as a shell makes it. `interrupt` sends Ctrl-C once bklog has shown that text."""
    place = pathlib.Path(context).parent
    raw, codes, ended, report = (place / name for name in ("raw.log", "codes", "ended", "report.txt"))
    for path in (raw, codes, ended, report):
        path.unlink(missing_ok=True)
    # tee ignores Ctrl-C, so that the raw log is whole; docker and bklog get it as they would in a terminal.
    docker = shlex.join([engine.docker, *engine.arguments(tag=tag), "."])
    script = (f"trap ':' INT; {{ trap ':' INT; {docker} 2>&1; echo $? > {shlex.quote(str(codes))}; cut -d' ' -f1 /proc/uptime > {shlex.quote(str(ended))}; }}"
              f" | tee -i {shlex.quote(str(raw))} | {shlex.join([str(bklog), *options])} 2> {shlex.quote(str(report))}; exit ${{PIPESTATUS[2]}}")
    process = subprocess.Popen(["bash", "-c", script], cwd=context, env=environment(engine, place), stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, start_new_session=True)
    passed, arrivals = bytearray(), []
    with limited(process):
        while piece := process.stdout.read1(65536):
            passed += piece
            arrivals.append((time.clock_gettime(time.CLOCK_BOOTTIME), bytes(piece)))
            if interrupt and interrupt.encode() in passed:
                os.killpg(process.pid, signal.SIGINT)
                interrupt = None
        code = process.wait()

    def read(path, default):
        return path.read_text().strip() if path.exists() else default

    return Piped(int(read(codes, "-1") or -1), code, raw.read_bytes() if raw.exists() else b"", bytes(passed), read(report, ""), arrivals,
                 float(read(ended, "0") or 0))


def check_live(checks, workshop, bklog):
    """A good build, a failing one, a quiet reader, a reader that goes away, Ctrl-C."""
    engine, context = workshop.fresh("live")
    text = "FROM busybox:1.35\nCOPY src /src\nRUN echo early; sleep 3; echo late\n"
    write(context, {"Dockerfile": text, "src/main.py": source("main")})
    good = pipe(engine, context, bklog)
    checks.equal(good.docker_exit, 0, "live: the build itself succeeds")
    checks.that(good.raw and good.passed == good.raw, "live: what docker wrote comes out untouched")
    checks.equal(good.bklog_exit, FINE, "live: exit code 0 behind a good build")
    checks.that(bool(good.report), "live: a summary on standard error")
    early = good.came_out(rb"\d\.\d+ early")
    checks.that(early is not None and early < good.docker_ended - 2, "live: a line comes out while the build still runs",
                f"came at {early}, the build ended at {good.docker_ended}")

    again = pipe(engine, context, bklog, "--quiet")
    checks.that(again.raw and not again.passed, "live: --quiet passes nothing on")
    checks.equal(again.bklog_exit, FINE, "live: exit code with --quiet, everything cached and nothing changed")

    write(context, {"Dockerfile": "FROM busybox:1.35\nRUN echo so far; exit 7\n"})
    failing = pipe(engine, context, bklog)
    checks.that(failing.docker_exit != 0, "live: the failing build fails")
    checks.that(failing.raw and failing.passed == failing.raw, "live: a failing build's log comes out untouched")
    checks.equal(failing.bklog_exit, BUILD_FAILED, "live: exit code behind a failing build")

    write(context, {"Dockerfile": "FROM busybox:1.35\nRUN echo now running; sleep 60\n"})
    began = time.monotonic()
    stopped = pipe(engine, context, bklog, interrupt=" now running\n")
    checks.that(time.monotonic() - began < 30 and stopped.docker_exit not in (0, -1), "live: Ctrl-C ends the build", stopped.docker_exit)
    checks.that(stopped.raw and stopped.passed == stopped.raw, "live: after Ctrl-C docker's last lines still come out")
    checks.that(bool(stopped.report), "live: after Ctrl-C there is a summary of what ran")
    checks.equal(stopped.bklog_exit, BUILD_FAILED, "live: exit code after Ctrl-C")

    write(context, {"Dockerfile": APP})
    script = f"{shlex.join([engine.docker, *engine.arguments('--no-cache', tag='live'), '.'])} 2>&1 | {shlex.quote(str(bklog))} 2>{shlex.quote(str(context.parent / 'errors'))} | head -n 1; exit ${{PIPESTATUS[1]}}"
    gone = subprocess.run(["bash", "-c", script], cwd=context, env=environment(engine, context.parent), stdin=subprocess.DEVNULL, capture_output=True, timeout=BUILD_TIMEOUT)
    errors = (context.parent / "errors").read_text(errors="replace")
    checks.that("panic" not in errors and "Broken pipe" not in errors, "live: a reader that goes away is no error", errors[-200:])
    checks.equal(gone.returncode, FINE, "live: exit code when the reader goes away")
