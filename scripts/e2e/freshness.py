"""Builds of git repositories, with the truth of what is in the image: the commit's bytes or old ones.

Each function makes a repository, changes it as people do, builds, and yields a Recording after every build, while the work
tree still is as it was: what `bklog check` needs to see stands in `recording.checkout`. The truth is read from the image's
own files and compared with `git show COMMIT:PATH`.
"""

import dataclasses
import os
import pathlib
import subprocess

from engine import EngineError
from scenarios import UUID, record, same, source, succeeded, write

SERVICES = ("auth", "user", "targets", "jobs", "execution", "audit-events", "notification", "job-management", "job-scheduling", "target-discovery")


@dataclasses.dataclass
class Copied:
    """One COPY of the local context: did it run, and does the image hold the commit's files?"""

    build: int
    text: str
    status: str
    truth: str
    differing: list


@dataclasses.dataclass
class Checkout:
    """What the log cannot say: where the build ran, of which commit, and what came of it."""

    directory: str
    commit: str
    commands: list
    copied: list
    # The cache-bust argument: the value passed (None: not passed), and the value that the step printed, read from the image.
    bust: list = dataclasses.field(default_factory=list)
    # What `docker save` wrote of the image of the log's last build.
    archive: bytes = None


class Repository:
    """A git repository in a directory, with commits of its own author and time."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *arguments, text=True):
        """Runs git without the caller's settings."""
        keep = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
        keep.update(GIT_CONFIG_NOSYSTEM="1", GIT_CONFIG_GLOBAL="/dev/null", GIT_AUTHOR_NAME="Test", GIT_AUTHOR_EMAIL="test@example.org",
                    GIT_COMMITTER_NAME="Test", GIT_COMMITTER_EMAIL="test@example.org")
        done = subprocess.run(["git", *arguments], cwd=self.directory, env=keep, capture_output=True, text=text)
        if done.returncode:
            raise EngineError(f"git {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def commit(self, message, files=None):
        """Writes the files, commits everything, and gives the commit."""
        write(self.directory, files or {})
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", message)
        return self.head()

    def head(self):
        """The full name of HEAD."""
        return self.git("rev-parse", "HEAD").strip()

    def files(self, under=""):
        """The committed files below a directory, path (from there) to bytes."""
        prefix = f"{under}/" if under else ""
        paths = [p for p in self.git("ls-tree", "-r", "-z", "--name-only", "HEAD").split("\0") if p.startswith(prefix) and p]
        return {path.removeprefix(prefix): self.git("show", f"HEAD:{path}", text=False) for path in paths}

    def rewrite_unseen(self, path, text):
        """Gives a file other content of the same size and puts its old time back: the change that a context sync cannot see."""
        file = self.directory / path
        before = file.stat()
        if before.st_size != len(text.encode()) or file.read_text() == text:
            raise EngineError(f"{path}: the new content must be another one of the same size")
        file.write_text(text)
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def copied(build, number, truth, contains, committed, image_directory):
    """The truth of one COPY: the files that the commit has for it against those in the image."""
    differing = sorted(path for path, data in committed.items() if build.image.files.get(f"{image_directory}/{path}") != data)
    step = truth.step("COPY", contains)
    return Copied(number, step.text, step.status, "stale" if differing else "fresh", differing)


def expect(problems, made, status, truth):
    """A scenario means to show a case; when the engine does something else, the scenario is wrong and says so."""
    same(problems, f"what happened to {made.text!r}", (made.status, made.truth), (status, truth))


def life_of_a_commit(workshop):
    """Source changed, same commit, ignored files only, an unseen change, --no-cache, prune."""
    engine, context = workshop.fresh("commits")
    text = f"FROM busybox:1.35\nWORKDIR /app\nCOPY . .\nRUN cat src/*.py | wc -l > /counted; {UUID} > /ran\n"
    repository = Repository(context)
    first = {"Dockerfile": text, ".dockerignore": ".git\ndocs\n*.md\n", "README.md": "# app\n", "docs/guide.txt": source("guide"),
             "src/main.py": source("main"), "src/auth.py": source("auth")}
    # A line is changed into one of the same length.
    other = source("auth").replace("'value 007", "'VALUE 007")

    def build(name, what, status, fresh, *options):
        made, problems = engine.build(context, *options, tag="commits"), []
        truth = succeeded(made, text, "commits", problems)
        committed = {path: data for path, data in repository.files().items() if not path.startswith("docs/") and not path.endswith(".md")}
        one = copied(made, 0, truth, ". .", committed, "app")
        expect(problems, one, status, fresh)
        recording = record(name, what, [made], [truth], problems, text)
        recording.checkout = Checkout(str(context), repository.head(), recording.commands, [one], archive=made.image.archive)
        return recording

    repository.commit("First version", first)
    yield build("fresh-first", "first build of a commit", "done", "fresh")
    yield build("fresh-same-commit", "the same commit again", "cached", "fresh")
    repository.commit("Write the guide", {"docs/guide.txt": source("guide", 80), "README.md": "# app, explained\n"})
    yield build("fresh-ignored-only", "a new commit that touches ignored files only", "cached", "fresh")
    repository.commit("Change main", {"src/main.py": source("main", 61)})
    yield build("fresh-changed", "a new commit that changes a source file", "done", "fresh")
    repository.rewrite_unseen("src/auth.py", other)
    repository.commit("Change auth, same size, time put back")
    yield build("stale-unseen", "a change of the same size with the old time put back: CACHED, and the image is stale", "cached", "stale")
    yield build("stale-no-cache", "the same with --no-cache: COPY is DONE, and the image is still stale", "done", "stale", "--no-cache")
    engine.call("builder", "prune", "--force")
    yield build("fresh-after-prune", "after docker builder prune -f the file is read again", "done", "fresh")


def ten_services(workshop):
    """Ten services that copy one shared library, built by one script into one log, with a cache-bust argument."""
    engine, context = workshop.fresh("services")
    repository = Repository(context)

    def dockerfile(service):
        return ("FROM busybox:1.35\nARG SHARED_LIBS_CACHE_BUST=1\nRUN echo \"Cache bust: $SHARED_LIBS_CACHE_BUST\" | tee /bust\n"
                f"COPY shared-libs /shared-libs\nRUN cat /shared-libs/*.py | wc -l > /installed\nCOPY services/{service}-service /app\n")

    files = {"shared-libs/tokens.py": source("tokens"), "shared-libs/keys.py": source("keys"), ".dockerignore": ".git\n"}
    for service in SERVICES:
        files[f"services/{service}-service/Dockerfile"] = dockerfile(service)
        files[f"services/{service}-service/main.py"] = source(service.replace("-", "_"))
    repository.commit("Ten services", files)

    def rebuild(name, what, bust, shared):
        recordings, truths, problems, made_copies, busts, log = [], [], [], [], [], b""
        for number, service in enumerate(SERVICES):
            arguments = [] if bust is None else ["--build-arg", f"SHARED_LIBS_CACHE_BUST={bust}"]
            made = engine.build(context, "-f", f"services/{service}-service/Dockerfile", *arguments, tag=f"{service}-service")
            truth = succeeded(made, dockerfile(service), f"{service}-service", problems, arguments={"SHARED_LIBS_CACHE_BUST": bust or "1"})
            made_copies.append(copied(made, number, truth, "shared-libs", repository.files("shared-libs"), "shared-libs"))
            made_copies.append(copied(made, number, truth, "services/", repository.files(f"services/{service}-service"), "app"))
            busts.append({"argument": "SHARED_LIBS_CACHE_BUST", "passed": bust, "printed": made.image.text("/bust").strip().removeprefix("Cache bust: ")})
            log += f"Building {service}-service...\n".encode() + made.log + f"{service}-service built\n".encode()
            recordings.append(made)
            truths.append(truth)
        for one in made_copies:
            if "shared-libs" in one.text:
                same(problems, f"shared-libs of build {one.build}", one.truth, shared)
        recording = record(name, what, recordings, truths, problems, dockerfile(SERVICES[0]))
        recording.log = log
        recording.checkout = Checkout(str(context), repository.head(), recording.commands, made_copies, busts, recordings[-1].image.archive)
        return recording

    yield rebuild("services-first", "ten services in one log, bust passed, first build", "1700000001", "fresh")
    repository.commit("Change the library", {"shared-libs/tokens.py": source("tokens", 61)})
    yield rebuild("services-bust-passed", "the library changed, a new bust value passed", "1700000002", "fresh")
    repository.commit("Change the library again", {"shared-libs/tokens.py": source("tokens", 62)})
    yield rebuild("services-bust-not-passed", "the library changed, the bust not passed: COPY runs all the same", None, "fresh")
    repository.rewrite_unseen("shared-libs/keys.py", source("keys").replace("'value 007", "'VALUE 007"))
    repository.commit("Change the library, same size, time put back")
    yield rebuild("services-stale", "an unseen change of the library, a new bust passed: COPY is DONE or CACHED, and every image is stale", "1700000003", "stale")


def hosted_bust(workshop):
    """A service whose Dockerfile prints a build timestamp above its COPY: passed, passed anew, not passed, misspelled."""
    engine, context = workshop.fresh("bust")
    text = 'FROM busybox:1.35\nARG CACHEBUST=1\nRUN echo "Build timestamp: $CACHEBUST" | tee /bust\nCOPY src /app\n'
    repository = Repository(context)
    repository.commit("First version", {"Dockerfile": text, "src/main.py": source("main")})
    for name, what, option, value in (("bust-passed", "the bust is passed", "CACHEBUST", "1700000001"),
                                      ("bust-passed-anew", "a new value is passed", "CACHEBUST", "1700000002"),
                                      ("bust-not-passed", "the bust is not passed: the default is printed", None, None),
                                      ("bust-misspelled", "the bust is passed under a wrong name", "CACHE_BUST", "1700000003")):
        arguments = ["--build-arg", f"{option}={value}"] if option else []
        made, problems = engine.build(context, *arguments, tag="bust"), []
        seen = value if option == "CACHEBUST" else "1"
        truth = succeeded(made, text, "bust", problems, arguments={"CACHEBUST": seen})
        same(problems, "the value that the step printed", made.image.text("/bust"), f"Build timestamp: {seen}\n")
        one = copied(made, 0, truth, "src", repository.files("src"), "app")
        recording = record(name, what, [made], [truth], problems, text)
        recording.checkout = Checkout(str(context), repository.head(), recording.commands, [one],
                                      [{"argument": "CACHEBUST", "passed": value if option == "CACHEBUST" else None, "printed": seen}], made.image.archive)
        yield recording


def old_ignore_file(workshop):
    """An unseen change of .dockerignore: docker 20.10 compares it by size and time, and keeps out what it is to let in."""
    engine, context = workshop.fresh("ignore")
    text = "FROM busybox:1.35\nCOPY . /app\n"
    repository = Repository(context)

    def ignoring(name):
        return f".git\n.dockerignore\nDockerfile\n{name}\n"

    def build(name, what, left_out, status, fresh):
        made, problems = engine.build(context, tag="ignore"), []
        truth = succeeded(made, text, "ignore", problems)
        committed = {path: data for path, data in repository.files().items() if path not in ("Dockerfile", ".dockerignore") and not path.startswith(left_out)}
        one = copied(made, 0, truth, ". /app", committed, "app")
        expect(problems, one, status, fresh)
        recording = record(name, what, [made], [truth], problems, text)
        recording.checkout = Checkout(str(context), repository.head(), recording.commands, [one], archive=made.image.archive)
        return recording

    repository.commit("First version", {"Dockerfile": text, ".dockerignore": ignoring("docs"), "docs/guide.txt": source("guide"), "src/main.py": source("main")})
    yield build("ignore-first", "docs are kept out of the context", "docs/", "done", "fresh")
    repository.rewrite_unseen(".dockerignore", ignoring("none"))
    repository.commit("Let the documentation in, same size, time put back")
    yield build("ignore-unseen", "an unseen change of .dockerignore: docs are still kept out", "none/", "cached", "stale")
    (context / ".dockerignore").touch()
    yield build("ignore-touched", "touched, it is read again", "none/", "done", "fresh")


FRESHNESS = (life_of_a_commit, ten_services, hosted_bust, old_ignore_file)
