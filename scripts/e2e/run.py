"""`bklog run` around real builds: a build, scripts and make that call builds, failures, Ctrl-C.

What is checked is what only the real engine shows: that every build of a log finds its command, and that the builder's copies are
followed from one recorded run to the next.
"""

import json
import os
import shlex
import signal
import subprocess
import time

from compare import FINDINGS, FINE
from engine import BUILD_TIMEOUT, limited
from freshness import Repository
from scenarios import source

SERVICES = ("auth", "user", "jobs")


def dockerfile(service):
    """Copies a shared library and the service."""
    return f"FROM busybox:1.35\nCOPY shared-libs /shared-libs\nRUN cat /shared-libs/*.py | wc -l > /installed\nCOPY services/{service} /app\n"


class Runner:
    """Runs `bklog run` in a repository, with a history of its own, and reads what it says."""

    def __init__(self, engine, context, bklog):
        self.context, self.bklog = context, bklog
        self.environment = engine.environment() | {"HOME": str(context.parent), "XDG_DATA_HOME": str(context.parent / "data"), "DOCKER": engine.docker}
        # `docker` is the engine's client, wherever another one stands.
        programs = context.parent / "programs"
        programs.mkdir()
        (programs / "docker").symlink_to(engine.docker)
        self.environment["PATH"] = f"{programs}:{self.environment['PATH']}"

    def start(self, *arguments):
        return subprocess.Popen([str(self.bklog), "run", *arguments], cwd=self.context, env=self.environment, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)

    def json(self, *arguments):
        """The exit code and the JSON, which stands behind what the build printed."""
        process = self.start("--format", "json", *arguments)
        with limited(process):
            printed, _ = process.communicate(timeout=BUILD_TIMEOUT)
        lines = [line for line in printed.decode(errors="replace").splitlines() if line.startswith('{"schema":"bklog.check/1"')]
        return process.returncode, json.loads(lines[-1]) if lines else None, printed.decode(errors="replace")


def check_compose(checks, workshop, bklog):
    """`bklog run -- docker-compose build`, of the first generation: by its own builder and by docker's client, with contexts of one name."""
    engine, context = workshop.fresh("compose")
    runner = Runner(engine, context, bklog)
    # Its Python must not meet what the caller has set for another one.
    runner.environment = {name: value for name, value in runner.environment.items() if not name.startswith(("PYTHON", "COMPOSE_"))}
    repository = Repository(context)
    services = {"api": "the api", "web": "the web"}
    files = {".gitignore": "*.log\n", "docker-compose.yml": "version: '3'\nservices:\n" + "".join(f"  {name}:\n    build: ./{name}/src\n" for name in services)
             + "  db:\n    image: busybox:1.35\n"}
    for name, text in services.items():
        files[f"{name}/src/Dockerfile"] = "FROM busybox:1.35\nCOPY main.py /app/\n"
        files[f"{name}/src/main.py"] = source(text)
    repository.commit("Two services", files)

    def set_times():
        for path in context.glob("*/src/*"):
            os.utime(path, (1_700_000_000, 1_700_000_000))

    set_times()
    for buildkit in ("0", "1"):
        runner.environment.update(DOCKER_BUILDKIT=buildkit, COMPOSE_DOCKER_CLI_BUILD=buildkit)
        history = ("--history", str(context.parent / f"history-{buildkit}"))
        label = f"run docker-compose build, {'BuildKit' if buildkit == '1' else 'its own builder'}"
        both = [(0, "fresh"), (1, "fresh")]
        for what in ("first", "again"):
            code, document, printed = runner.json(*history, "--", "docker-compose", "build")
            checks.equal((code, verdicts(document)), (FINE, both), f"{label}: {what}")
            checks.that(document and document.get("recorded_as") and not document["notes"], f"{label}, {what}: each service finds its build", printed[-300:])
    text = source(services["api"]).replace("'value 007", "'VALUE 007")
    (context / "api/src/main.py").write_text(text)
    set_times()
    # git would believe the time as well.
    (context / ".git/index").unlink()
    repository.commit("Change the api, same size, same time")
    code, document, printed = runner.json(*history, "--", "docker-compose", "build")
    checks.equal((code, verdicts(document)), (FINDINGS, [(0, "stale"), (1, "fresh")]), "run docker-compose build: an unseen change is stale in its service alone")
    in_image = engine.image("context_api").text("/app/main.py")
    checks.that(in_image == source(services["api"]), "run docker-compose build: the image is really stale")


def check_log_in_context(checks, workshop, bklog):
    """`docker build . > build.log 2>&1` in the directory that is built: the log is sent with the context while it is written."""
    engine, context = workshop.fresh("inside")
    repository = Repository(context)
    repository.commit("First version", {"Dockerfile": "FROM busybox:1.35\nCOPY . /app\n", ".dockerignore": ".git\n", "src/main.py": source("main"), "small": "1\n"})
    history = str(context.parent / "history")

    def build(what, expected, *options):
        words = ["build", "--network=none", "--progress=plain", *options, "-t", "inside", "."]
        with open(context / "build.log", "wb") as log:
            subprocess.run([engine.docker, *words], cwd=context, env=engine.environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                           timeout=BUILD_TIMEOUT, check=True)
        done = subprocess.run([str(bklog), "check", "build.log", "--build", shlex.join(["docker", *words]), "--history", history, "--record", "--format", "json"],
                              cwd=context, env=engine.environment(), capture_output=True)
        document = json.loads(done.stdout)
        checks.equal(verdicts(document), [(0, expected)], f"log in the context, {what}: the verdict")
        rules = sorted({finding["rule"] for finding in document["findings"]} - {"stale-base"})
        checks.equal(rules, ["stale-copy"] if expected == "stale" else [], f"log in the context, {what}: the log is no finding")
        held = engine.image("inside").text("/app/src/main.py") == (context / "src/main.py").read_text()
        checks.equal(held, expected == "fresh", f"log in the context, {what}: what the image holds")

    def commit(message, files=None):
        (context / "build.log").unlink()
        repository.commit(message, files)

    build("first", "fresh")
    build("again", "fresh")
    commit("Change a small file", {"small": "22\n"})
    build("small change", "fresh")
    repository.rewrite_unseen("src/main.py", source("main").replace("'value 007", "'VALUE 007"))
    commit("Change main, same size, time put back")
    build("unseen change", "stale")
    build("--no-cache", "stale", "--no-cache")
    engine.call("builder", "prune", "--force")
    build("prune", "fresh")


def verdicts(document):
    """The verdicts of the COPY steps, as (build, verdict)."""
    return [(step["build"], step["verdict"]) for step in (document or {}).get("steps", []) if "COPY" in step["name"]]


def check_run(checks, workshop, bklog):
    """A build, a script with a loop and variables, make, an unseen change, a failing build, Ctrl-C."""
    engine, context = workshop.fresh("run")
    runner = Runner(engine, context, bklog)
    repository = Repository(context)
    files = {"shared-libs/tokens.py": source("tokens"), "shared-libs/keys.py": source("keys"), ".dockerignore": ".git\n"}
    for service in SERVICES:
        files[f"services/{service}/Dockerfile"] = dockerfile(service)
        files[f"services/{service}/main.py"] = source(service)
    options = "--network=none --progress=plain"
    files["deploy.sh"] = ("#!/bin/sh\nset -e\nfor service in auth user jobs; do\n  echo \"Building $service...\"\n"
                          f"  docker build {options} -f services/$service/Dockerfile -t run-$service .\ndone\n")
    files["Makefile"] = "images:\n" + "".join(f"\tdocker build {options} -f services/{service}/Dockerfile -t run-{service} .\n" for service in SERVICES)
    repository.commit("Three services", files)
    (context / "deploy.sh").chmod(0o755)
    repository.commit("Make the script a program")

    every = [(build, "fresh") for build in range(3) for _ in range(2)]
    code, document, printed = runner.json("--", "./deploy.sh")
    checks.equal(code, FINE, "run ./deploy.sh: exit code")
    checks.equal(verdicts(document), every, "run ./deploy.sh: each build finds its command and is fresh")
    checks.that(document and document.get("recorded_as"), "run ./deploy.sh: it is recorded without being asked")
    checks.that("the history begins in" in " ".join((document or {}).get("notes", [])), "run ./deploy.sh: says where the history is", printed[-300:])

    repository.commit("Change the library", {"shared-libs/tokens.py": source("tokens", 61)})
    code, document, _ = runner.json("--", "./deploy.sh")
    checks.equal((code, verdicts(document)), (FINE, every), "run ./deploy.sh: a change of the library is fresh in every service")
    code, document, _ = runner.json("--", "make", "images")
    checks.equal((code, verdicts(document)), (FINE, every), "run make images: everything cached, everything fresh")

    repository.rewrite_unseen("shared-libs/keys.py", source("keys").replace("'value 007", "'VALUE 007"))
    repository.commit("Change the library, same size, time put back")
    code, document, _ = runner.json("--", "./deploy.sh")
    stale = [(build, verdict) for build in range(3) for verdict in ("stale", "fresh")]
    checks.equal((code, verdicts(document)), (FINDINGS, stale), "run ./deploy.sh: an unseen change is stale in every service")
    code, document, _ = runner.json("--no-record", "--", *shlex.split(f"docker build {options} --no-cache -f services/auth/Dockerfile -t run-auth ."))
    checks.equal((code, verdicts(document)), (FINDINGS, [(0, "stale"), (0, "fresh")]), "run docker build --no-cache: DONE and still stale")
    checks.that(document and document.get("recorded_as") is None, "run --no-record: nothing is recorded")

    (context / "Failing").write_text("FROM busybox:1.35\nRUN exit 7\n")
    docker = subprocess.run([engine.docker, "build", *shlex.split(options), "-f", "Failing", "."], cwd=context, env=runner.environment, capture_output=True)
    code, document, printed = runner.json("--", "docker", "build", *shlex.split(options), "-f", "Failing", ".")
    checks.equal(code, docker.returncode, "run: the exit code of a build that fails is the build's own")
    checks.that(document is not None, "run: a build that fails is reported too", printed[-300:])

    (context / "Slow").write_text("FROM busybox:1.35\nRUN echo now running; sleep 60\n")
    process = runner.start("--", "docker", "build", *shlex.split(options), "--no-cache", "-f", "Slow", ".")
    seen, began, sent = bytearray(), time.monotonic(), False
    with limited(process):
        while piece := process.stdout.read1(65536):
            seen += piece
            if not sent and b" now running\n" in seen:
                os.killpg(process.pid, signal.SIGINT)
                sent = True
        code = process.wait()
    checks.that(sent and time.monotonic() - began < 40, "run: Ctrl-C ends the build")
    checks.that(code != 0 and b"canceled" in seen, "run: after Ctrl-C there is a summary, and the exit code is no success", (code, bytes(seen[-300:])))
