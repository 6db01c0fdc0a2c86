"""Calls the real Docker engine: builds that keep their log, and images read without any help of the log.

The engine is the one that scripts/engine.sh started; its address and the client come from the environment that
`scripts/engine.sh env` prints.
"""

import contextlib
import dataclasses
import datetime
import io
import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import tarfile
import threading
import time

# No build of the scenarios takes longer; a hanging engine must not hang the test.
BUILD_TIMEOUT = 180


class EngineError(Exception):
    """The engine could not do what a scenario needs, so there is no truth to hold anything against."""


@dataclasses.dataclass
class History:
    """One entry of an image's history: an instruction, and when its layer was made."""

    created: datetime.datetime
    created_by: str
    empty_layer: bool


@dataclasses.dataclass
class Image:
    """What the engine itself says of an image, and the files in it.

    `files` maps a path without leading slash to the bytes of a regular file, for all layers flattened, except the base
    image's own programs.
    """

    id: str
    history: list
    layers: int
    onbuild: list
    files: dict
    # What `docker save` writes.
    archive: bytes

    def text(self, path):
        """The text of a file in the image, or None where there is no such file."""
        data = self.files.get(path.lstrip("/"))
        return None if data is None else data.decode()


@dataclasses.dataclass
class Build:
    """One finished build: the bytes that it printed, how it ended, and its image (None when there is none)."""

    command: str
    log: bytes
    exit_code: int
    started: datetime.datetime
    seconds: float
    image: Image = None


def parse_time(text):
    """RFC 3339 with up to nine digits of a second, as Go writes it; Python keeps six."""
    match = re.fullmatch(r"(\d+-\d+-\d+T\d+:\d+:\d+)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)", text)
    if not match:
        raise EngineError(f"not a time: {text!r}")
    zone = "+00:00" if match[3] == "Z" else match[3]
    return datetime.datetime.fromisoformat(f"{match[1]}.{(match[2] or '0')[:6].ljust(6, '0')}{zone}")


@contextlib.contextmanager
def limited(process):
    """Kills a process that leads its own group, with the group, when it takes too long or the test itself ends."""

    def kill():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    alarm = threading.Timer(BUILD_TIMEOUT, kill)
    alarm.daemon = True
    alarm.start()
    try:
        yield
    finally:
        alarm.cancel()
        if process.returncode is None:
            kill()
            process.wait()


class Engine:
    """The client with a configuration directory of its own, hence a node id and a context snapshot of its own."""

    def __init__(self, config):
        try:
            self.docker = os.environ["BKLOG_DOCKER"]
            self.base = os.environ["BKLOG_BASE_IMAGE"]
            self.host = os.environ["DOCKER_HOST"]
        except KeyError as missing:
            raise EngineError(f"{missing} is not set: start an engine and eval \"$(scripts/engine.sh env)\"") from None
        self.config = pathlib.Path(config)
        self.config.mkdir(parents=True, exist_ok=True)

    def environment(self, buildkit=True):
        """The environment of every call: nothing of the caller's docker, BuildKit or terminal settings."""
        keep = {k: v for k, v in os.environ.items() if not k.startswith(("DOCKER_", "BUILDKIT_", "BUILDX_", "BKLOG_"))}
        keep.update(DOCKER_HOST=self.host, DOCKER_CONFIG=str(self.config), DOCKER_BUILDKIT="1" if buildkit else "0", LC_ALL="C.UTF-8")
        return keep

    def call(self, *arguments, data=None):
        """Runs the client and gives its standard output; any failure is an EngineError."""
        done = subprocess.run([self.docker, *arguments], env=self.environment(), input=data, capture_output=True, timeout=BUILD_TIMEOUT)
        if done.returncode:
            raise EngineError(f"docker {shlex.join(arguments)}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout

    def version(self):
        """The versions of client and server, as the engine itself says them."""
        return self.call("version", "--format", "client {{.Client.Version}}, dockerd {{.Server.Version}}").decode().strip()

    def forget(self):
        """Removes every image but the base, and the build cache with its context snapshots: the next build is a first one."""
        # Tagged images first: the legacy builder's layers are images, which cannot be removed before their children.
        tagged = set(self.call("image", "ls", "--filter", "dangling=false", "--format", "{{.Repository}}:{{.Tag}}").decode().split()) - {self.base}
        if tagged:
            self.call("rmi", "--force", *tagged)
        self.call("image", "prune", "--force")
        self.call("builder", "prune", "--all", "--force")

    def arguments(self, *arguments, tag=None, legacy=False):
        """The words of a build command, without the program."""
        words = ["build", "--network=none"]
        if not legacy:
            words.append("--progress=plain")
        if tag:
            words += ["-t", tag]
        return [*words, *arguments]

    def build(self, context, *arguments, tag=None, legacy=False, interrupt=None, sent=signal.SIGINT):
        """Builds in `context` (the command's working directory and its last argument `.`) and gives a Build.

        `interrupt` is a text: as soon as the log holds it, `sent` goes to the whole process group of the build, as a
        terminal does it for Ctrl-C.
        """
        words = [*self.arguments(*arguments, tag=tag, legacy=legacy), "."]
        started, clock = datetime.datetime.now(datetime.timezone.utc), time.monotonic()
        process = subprocess.Popen([self.docker, *words], cwd=context, env=self.environment(not legacy), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        log, waiting = bytearray(), interrupt
        with limited(process):
            while piece := process.stdout.read1(65536):
                log += piece
                if waiting and waiting.encode() in log:
                    os.killpg(process.pid, sent)
                    waiting = None
            code = process.wait()
        seconds = time.monotonic() - clock
        if seconds >= BUILD_TIMEOUT:
            raise EngineError(f"docker {shlex.join(words)} did not end within {BUILD_TIMEOUT} s")
        if waiting:
            raise EngineError(f"the log never held {waiting!r}, so the build was not interrupted")
        command = f"DOCKER_BUILDKIT={0 if legacy else 1} docker {shlex.join(words)}"
        image = self.image(tag) if tag and code == 0 else None
        return Build(command, bytes(log), code, started, seconds, image)

    def image(self, name):
        """Reads an image out of the engine: its id (inspect), history and layers (save), files (create and export)."""
        inspected = json.loads(self.call("image", "inspect", name))[0]
        archive = self.call("save", name)
        with tarfile.open(fileobj=io.BytesIO(archive)) as saved:
            manifest = json.load(saved.extractfile("manifest.json"))[0]
            config = json.load(saved.extractfile(manifest["Config"]))
        history = [History(parse_time(entry["created"]), entry.get("created_by", ""), entry.get("empty_layer", False))
                   for entry in config["history"]]
        container = self.call("create", "--network=none", name, "/bin/true").decode().strip()
        try:
            exported = self.call("export", container)
        finally:
            self.call("rm", "--force", container)
        files = {}
        with tarfile.open(fileobj=io.BytesIO(exported)) as flat:
            for member in flat:
                if member.isfile() and not member.name.startswith(("bin/", "sbin/", "usr/")):
                    files[member.name] = flat.extractfile(member).read()
        return Image(inspected["Id"], history, len(config["rootfs"]["diff_ids"]), inspected["Config"].get("OnBuild") or [], files, archive)
