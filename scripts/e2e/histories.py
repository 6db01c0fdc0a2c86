"""Random histories of one repository, built after every change, with the verdicts of `bklog check` held against the images.

usage: eval "$(scripts/engine.sh env DIR)"; python3 scripts/e2e/histories.py BKLOG [--seed N] [--histories N] [--builds N] [--keep DIR]

Each history has a Dockerfile with COPY steps of many kinds, an ignore file, and between its builds what people and jobs do to a work
tree: edits (also of the same size with the old time put back), set times, other commits, new clones, renames, prunes, --no-cache,
another service of the same layout, builds that nobody records, failed builds, a tree that was not updated. The truth of a COPY is what a
reference build of a clean copy of the commit put into the image: in a directory of its own with times of its own, so that no earlier
transfer can stand in for it.

Every build is checked with the ledger (`log`), with the image alone (`image`), with both, and with nothing but the commit that was built
before (`since`). With an image the verdict must be the truth. Without one a stale step must be `stale` or `suspect`, and a fresh one must
not be `stale`; by `since` that holds for files that changed since that commit. Changes that are not committed are counted only.
A seed gives the same history every time.
"""

import argparse
import collections
import io
import json
import os
import pathlib
import random
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time

from freshness import Repository
from scenarios import Workshop

EPOCH = 1_600_000_000
FINE, BUILD_FAILED = 0, 4


def entries(archive):
    """Every file and link of an image that is not the base's: path to what it holds, from the bytes that `docker save` wrote."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as saved:
        manifest = json.load(saved.extractfile("manifest.json"))[0]
        for layer in manifest["Layers"][1:]:
            with tarfile.open(fileobj=io.BytesIO(saved.extractfile(layer).read())) as files:
                for member in files:
                    if member.issym():
                        found[member.name] = ("link", member.linkname)
                    elif member.isfile():
                        found[member.name] = (member.mode & 0o111 != 0, files.extractfile(member).read())
    return found


class Checks:
    """Counts, and prints what fails."""

    def __init__(self):
        self.passed = self.failed = 0

    def that(self, good, what, detail=""):
        """One check; gives whether it is good."""
        if good:
            self.passed += 1
        else:
            self.failed += 1
            print(f"FAIL  {what}: {detail}", flush=True)
        return good


class History:
    """One repository with its Dockerfile, and the builds of it."""

    def __init__(self, seed, engine, place, bklog, checks, counts):
        self.random = random.Random(seed)
        self.seed, self.engine, self.place, self.bklog = seed, engine, place, str(bklog)
        self.checks, self.counts = checks, counts
        self.work = place / "work"
        self.work.mkdir(parents=True)
        self.repository = Repository(self.work)
        self.number = 0
        self.log = []
        # The context below the work tree: all of it, or one service.
        self.context = self.random.choice(["", "", "svc/api"])
        self.root = self.work / self.context
        self.commits, self.before = [], {}
        self.make()

    def text(self, size):
        return "".join(self.random.choice("abcdefghij \n") for _ in range(size))

    def make(self):
        r = self.random
        paths = ["src/main.py", "src/util.py", "src/pkg/a.py", "src/pkg/b.py", "conf/app.conf", "conf/dev.conf", "docs/guide.md", "README.md",
                 "requirements.txt", "static/logo.bin", "src/pkg/deep/c.txt", "src/empty.py"]
        for path in paths:
            size = 0 if path.endswith("empty.py") else r.choice([50, 700, 700, 2500, 40_000 if path.endswith(".bin") else 900])
            self.write(path, self.text(size))
        (self.root / "src/run.sh").write_text("#!/bin/sh\n")
        (self.root / "src/run.sh").chmod(0o755)
        os.symlink("main.py", self.root / "src/link.py")
        if self.context:
            (self.work / "other").mkdir()
            (self.work / "other/file.txt").write_text("other\n")
        self.ignore()
        self.dockerfile()
        self.commit("First")

    def write(self, path, text):
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def ignore(self):
        r = self.random
        lines = r.choice([[], [".git"], [".git", "docs"], [".git", "**/*.md", "!README.md"], [".git", "conf/*", "!conf/app.conf"], ["**/deep", ".git", "# no", "*.txt"],
                          ["*", "!src", "!conf", "!requirements.txt", "src/pkg/b.py"]])
        if not self.context and not lines:
            lines = [".git"]
        self.write(".dockerignore", "".join(f"{line}\n" for line in lines))
        self.ignored = lines

    def dockerfile(self):
        r = self.random
        kinds = ["COPY . {d}/", "COPY src {d}/", "COPY src/ {d}/x", "COPY src/*.py {d}/", "COPY src/main.py src/util.py {d}/", "COPY src/main.py {d}/named.py", "ADD src {d}/",
                 "COPY s?c/pkg {d}/", "COPY conf/app.conf {d}/app.conf", "COPY src/pkg src/run.sh {d}/", "COPY --chown=1:1 src {d}/", "COPY [\"src\", \"{d}/\"]",
                 "COPY src/pkg/[ab].py {d}/", "COPY $WHERE/pkg {d}/", "COPY ${{WHERE:-conf}} {d}/", "COPY ./src/../src/pkg {d}/", "COPY /src/main.py {d}/"]
        # What the ignore file keeps out cannot be copied by name.
        if "*" not in self.ignored and "*.txt" not in self.ignored:
            kinds.append("COPY requirements.txt {d}/")
        if "conf/*" not in self.ignored:
            kinds.append("COPY conf {d}/")
        lines, first = ["ARG UNUSED=1"], []
        base = "busybox:1.35"
        if r.random() < 0.5:
            lines += [f"FROM {base} AS build", "ARG WHERE=src", "WORKDIR /b"]
            for n in range(r.randint(1, 2)):
                directory = f"/b{n}"
                lines.append(r.choice(kinds).format(d=directory))
                first.append(directory)
                if r.random() < 0.5:
                    lines.append(f"RUN echo {n} > /ran{n}")
            lines += [f"FROM {base}", "ARG WHERE=src"]
            lines += [f"COPY --from=build {directory} {directory}" for directory in first]
        else:
            lines += [f"FROM {base}", "ARG WHERE=src"]
        lines.append("ARG FAIL=no")
        for n in range(r.randint(1, 4)):
            directory = f"/c{n}"
            lines.append(r.choice(kinds).format(d=directory))
            if r.random() < 0.4:
                lines.append(f"RUN ls /c{n} > /listed{n}")
        lines += ["RUN test $FAIL = no", ""]
        self.write("Dockerfile", "\n".join(lines))

    def commit(self, message):
        date = str(EPOCH + self.random.choice([0, 100, 200, 300]))
        os.environ.update(GIT_AUTHOR_DATE=date)
        commit = self.repository.commit(message)
        if commit not in self.commits:
            self.commits.append(commit)

    def files(self):
        listed = self.repository.git("ls-files", "-z").split("\0")
        inside = [self.work / p for p in listed if p and (self.work / p).is_relative_to(self.root)]
        plain = [p for p in inside if p.is_file() and not p.is_symlink() and p.name not in ("Dockerfile", ".dockerignore")]
        return sorted(plain)

    # What happens between two builds.

    def pick(self):
        return self.random.choice([p for p in self.files() if p.stat().st_size > 10 and p.suffix != ".sh"])

    def edit_size(self):
        file = self.pick()
        file.write_text(file.read_text() + self.text(self.random.randint(1, 200)))
        self.commit("Edit")

    def edit_same_size(self):
        file = self.pick()
        file.write_text(self.text(file.stat().st_size))
        self.commit("Edit, same size")

    def edit_unseen(self):
        for _ in range(self.random.randint(1, 2)):
            file = self.pick()
            before = file.stat()
            file.write_text(self.text(before.st_size))
            os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        self.forget_times()
        self.commit("Edit, unseen")

    def forget_times(self):
        """git too takes a file of the same size and time for unchanged, unless its index is new."""
        (self.work / ".git/index").unlink()
        self.repository.git("reset", "--quiet", "--mixed", "HEAD")

    def normalise(self):
        for path in self.repository.git("ls-files", "-z").split("\0"):
            if path:
                os.utime(self.work / path, (EPOCH, EPOCH), follow_symlinks=False)

    def edit_normalised(self):
        self.edit_same_size()
        self.normalise()

    def other_commit(self):
        self.repository.git("checkout", "--quiet", "--detach", self.random.choice(self.commits))

    def other_commit_normalised(self):
        self.other_commit()
        self.normalise()

    def clone(self):
        """A new clone in the place of the old one, as a job's fresh workspace."""
        aside = self.place / "aside"
        self.work.rename(aside)
        subprocess.run(["git", "clone", "--quiet", "--no-local", str(aside), str(self.work)], check=True, capture_output=True)
        # Detached commits are not cloned; the old object store has them all.
        shutil.rmtree(self.work / ".git")
        shutil.move(aside / ".git", self.work / ".git")
        shutil.rmtree(aside)
        self.repository.git("reset", "--quiet", "--hard", "HEAD")

    def clone_normalised(self):
        self.clone()
        self.normalise()

    def rename(self):
        file = self.pick()
        if file.relative_to(self.root).as_posix() in ("src/main.py", "src/util.py", "conf/app.conf", "requirements.txt") or file.parent.name == "pkg":
            return self.edit_size()
        file.rename(file.with_name("n" + file.name))
        self.commit("Rename")

    def swap(self):
        """Two files of one size and time change places."""
        a, b = self.root / "src/main.py", self.root / "src/util.py"
        text = self.text(len(a.read_bytes()))
        b.write_text(text)
        for file in (a, b):
            os.utime(file, (EPOCH + 5, EPOCH + 5))
        self.commit("Equal sizes")
        self.build()
        c = a.with_name("swap")
        a.rename(c), b.rename(a), c.rename(b)
        self.forget_times()
        self.commit("Swap")

    def add(self):
        self.write(f"src/new{len(self.commits)}.py", self.text(300))
        self.commit("Add")

    def delete(self):
        files = [p for p in self.files() if p.name.startswith(("new", "nn", "empty", "guide"))]
        if files:
            self.random.choice(files).unlink()
        self.commit("Delete")

    def chmod(self):
        file = self.pick()
        file.chmod(file.stat().st_mode ^ 0o111)
        self.commit("Mode")

    def relink(self):
        link = self.root / "src/link.py"
        now = os.readlink(link)
        link.unlink()
        os.symlink("util.py" if now == "main.py" else "main.py", link)
        self.commit("Link")

    def new_ignore(self):
        keep = self.ignored
        self.ignore()
        if ("*" in self.ignored or "conf/*" in self.ignored or "*.txt" in self.ignored) and self.ignored != keep:
            # A COPY could lose its last source.
            self.write(".dockerignore", "".join(f"{line}\n" for line in [*keep, "static"]))
            self.ignored = keep
        self.commit("Ignore file")

    def new_dockerfile(self):
        self.dockerfile()
        self.commit("Dockerfile")

    def prune(self):
        self.engine.call("builder", "prune", "--force")

    def no_cache(self):
        self.build("--no-cache")

    def unrecorded(self):
        self.edit_same_size()
        self.build(recorded=False)

    def failed(self):
        self.edit_size()
        self.build("--build-arg", "FAIL=yes")

    def touch(self):
        for file in self.files():
            os.utime(file)

    def other_service(self):
        """Another service of the same layout is built on the same builder: its files have the same names, sizes and perhaps times."""
        if not self.context:
            return
        here, other = self.root, self.work / "svc/web"
        if not other.exists():
            shutil.copytree(here, other, symlinks=True)
            for file in other.rglob("*.py"):
                if not file.is_symlink() and file.stat().st_size:
                    before = file.stat()
                    file.write_text(self.text(before.st_size))
                    if self.random.random() < 0.7:
                        os.utime(file, ns=(before.st_mtime_ns, before.st_mtime_ns))
            self.commit("Another service")
        self.context, self.root = "svc/web", other
        try:
            if (other / "Dockerfile").exists():
                self.build()
        finally:
            self.context, self.root = "svc/api", here

    def nothing(self):
        pass

    def ignored_edit(self):
        self.write("docs/guide.md", self.text(500))
        self.commit("Docs")

    def not_updated(self):
        """The script says the newest commit, and the tree is an older one."""
        self.edit_size()
        claimed = self.repository.head()
        self.repository.git("checkout", "--quiet", "--detach", "HEAD~1")
        self.build(claimed=claimed)
        self.repository.git("checkout", "--quiet", "--detach", claimed)

    def dirty(self):
        file = self.pick()
        old = file.read_bytes()
        file.write_text(self.text(len(old) + 3))
        self.build(dirty=True)
        file.write_bytes(old)

    WEIGHTS = {"edit_size": 3, "edit_same_size": 3, "edit_unseen": 4, "edit_normalised": 3, "other_commit": 3, "other_commit_normalised": 3, "clone": 2, "clone_normalised": 2,
               "rename": 1, "swap": 1, "add": 1, "delete": 1, "chmod": 1, "relink": 1, "new_ignore": 1, "new_dockerfile": 1, "prune": 1, "other_service": 3, "no_cache": 1, "unrecorded": 1,
               "failed": 1, "touch": 1, "nothing": 2, "ignored_edit": 1, "not_updated": 1, "dirty": 1}

    def step(self):
        names = self.random.choices(list(self.WEIGHTS), list(self.WEIGHTS.values()), k=self.random.choice([1, 1, 2]))
        for name in names:
            self.log.append(name)
            getattr(self, name)()
        self.build()

    # A build and its truth.

    def copied(self, commit):
        """The COPY lines of the commit's Dockerfile as a log prints them, and the directory of each in the image."""
        path = f"{self.context}/Dockerfile" if self.context else "Dockerfile"
        lines = [line for line in self.repository.git("show", f"{commit}:{path}").splitlines() if line.startswith(("COPY", "ADD")) and "--from" not in line]
        shown = [line.replace("${WHERE:-conf}", "src").replace("$WHERE", "src").replace('"', "") for line in lines]
        return [(line, re.search(r" /([bc]\d)", line)[1]) for line in shown]

    def reference(self, commit):
        """What a build of a clean copy of the commit puts into the image; its context has a path and times of its own."""
        clean = pathlib.Path(tempfile.mkdtemp(prefix="reference-", dir=self.place))
        with tarfile.open(fileobj=io.BytesIO(self.repository.git("archive", "--format=tar", commit, text=False))) as files:
            files.extractall(clean, filter="fully_trusted")
        now = time.time_ns()
        for number, path in enumerate(sorted(clean.rglob("*"))):
            if not path.is_symlink():
                os.utime(path, ns=(now + number, now + number))
        tag = f"reference{self.seed}"
        self.engine.call("build", "--network=none", "-t", tag, str(clean / self.context))
        shutil.rmtree(clean)
        return entries(self.engine.call("save", tag))

    def changed_since(self, before, commit):
        """The names of the files that differ between two commits."""
        return {pathlib.PurePath(path).name for path in self.repository.git("diff", "--name-only", "--no-renames", before, commit).splitlines()}

    def build(self, *options, claimed=None, recorded=True, dirty=False):
        """Builds the context and holds every verdict on it against the images; a build that is not recorded is not checked either."""
        self.number += 1
        tag, name = f"history{self.seed}{self.context.replace('/', '-')}", f"{self.number:03d}"
        # The same context by either name: 20.10 tells them apart.
        inside = not self.context or self.random.random() < 0.5
        directory, argument = (self.root, ".") if inside else (self.work, self.context)
        words = ["build", "--network=none", "--progress=plain", "-t", tag, *options, argument]
        started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        built = subprocess.run([self.engine.docker, *words], cwd=directory, env=self.engine.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        commit, before = claimed or self.repository.head(), self.before.get(self.context)
        self.log.append(f"build {name} of {commit[:7]}{''.join(f' {option}' for option in options)}{'' if recorded else ', not recorded'}, exit {built.returncode}")
        if not recorded:
            return
        self.before[self.context] = commit
        log, history, none = self.place / f"{name}.log", self.place / "history", self.place / "no-history"
        log.write_bytes(built.stdout)
        ways = {"log": ["--history", history, "--record", "--started-at", started]}
        image = reference = None
        if built.returncode == 0:
            archive = self.place / "image.tar"
            archive.write_bytes(self.engine.call("save", tag))
            image, reference = entries(archive.read_bytes()), self.reference(commit)
            ways = {"image": ["--image", archive, "--history", none], "both": ["--image", archive, "--history", history], **ways}
            if before:
                ways["since"] = ["--since", before, "--history", none]
        for way, given in ways.items():
            command = [self.bklog, "check", log, "--build", shlex.join(["docker", *words]), "--commit", commit, "--project", "p", "--format", "json",
                       "--fail-on", "never", *given]
            ran = subprocess.run([str(word) for word in command], cwd=directory, capture_output=True, env=dict(os.environ, HOME=str(self.place)))
            what = f"history {self.seed}, build {name}, by {way}"
            if not self.checks.that(ran.returncode in (FINE, BUILD_FAILED), f"{what}: exit code", f"{ran.returncode}: {ran.stderr.decode()[-300:]}"):
                continue
            (self.place / f"{name}.{way}.json").write_bytes(ran.stdout)
            if image is not None:
                changed = self.changed_since(before, commit) if way == "since" else None
                self.hold(what, way, json.loads(ran.stdout), built.stdout, commit, image, reference, changed, dirty)

    def hold(self, what, way, document, log, commit, image, reference, changed, dirty):
        """Holds the verdicts of one check against what the image and that of the reference build hold."""
        left = list(document["steps"])
        for line, directory in self.copied(commit):
            if f"] {line}\n".encode() not in log:
                # 20.10 syncs the Dockerfile like any other file, so that an old one can stand in for it.
                self.checks.that(any("Dockerfile" in json.dumps(finding) for finding in document["findings"]), f"{what}: the old Dockerfile is named")
                continue
            got = next((step for step in left if step["name"].endswith(f"] {line}")), None)
            if not self.checks.that(got is not None, f"{what}: there is a verdict on {line}"):
                continue
            left.remove(got)
            differing = sorted(path for path in image.keys() | reference.keys()
                               if path.startswith(f"{directory}/") and image.get(path) != reference.get(path))
            truth, verdict = "stale" if differing else "fresh", got["verdict"]
            self.counts[(way, "dirty" if dirty else truth, got["status"], verdict)] += 1
            names = {pathlib.PurePath(path).name for path in differing}
            if dirty or differing and changed is not None and not names & changed:
                continue
            allowed = (truth,) if way in ("image", "both") else ("stale", "suspect") if differing else ("fresh", "suspect", "unknown")
            self.checks.that(verdict in allowed, f"{what}: {line} is {got['status']} and {truth}",
                             f"{verdict}: {got['because']}; differing: {differing[:4]}; after: {'; '.join(self.log[-6:])}")


def check_histories(checks, workshop, bklog, seeds=range(1, 4), builds=8):
    """Runs the histories of these seeds with so many builds each; gives how often each verdict was given."""
    counts = collections.Counter()
    for seed in seeds:
        engine, context = workshop.fresh(f"history-{seed}")
        history = History(seed, engine, context.parent, bklog, checks, counts)
        history.build()
        for _ in range(builds):
            history.step()
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bklog", help="the program under test")
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--histories", type=int, default=3, metavar="N")
    parser.add_argument("--builds", type=int, default=8, metavar="N", help="changes of each history; some build more than once")
    parser.add_argument("--keep", metavar="DIR", help="directory for trees and logs; kept")
    given = parser.parse_args()
    checks = Checks()
    with tempfile.TemporaryDirectory(prefix="bklog-histories-") as temporary:
        workshop = Workshop(given.keep or temporary)
        counts = check_histories(checks, workshop, pathlib.Path(given.bklog).resolve(), range(given.seed, given.seed + given.histories), given.builds)
    for (how, truth, status, verdict), count in sorted(counts.items()):
        print(f"{how:6} {truth:6} {status:7} called {verdict:8} {count:5}")
    print(f"{checks.passed} passed, {checks.failed} failed")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
