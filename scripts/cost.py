#!/usr/bin/env python3
"""What `bklog check` and `bklog record` cost beside the build, on a large and on a small repository.

usage: scripts/cost.py BKLOG [--history] [--limit X] [--files N] [--mib N] [--runs N] [--work DIR]

Makes a repository of 20,000 tracked files and 500 MB with a commit that changes some of them and a few files that are not committed,
and a log of a build of it. Then, with a warm page cache:

  time    `check` against `git status` plus one read of the changed files: at most 1.5 times
  reads   every file of the work tree is opened at most once by `check` and the processes that it starts, beside those of git status
          (counted by strace, where it is installed)
  small   on a repository of 20 files: at most 50 ms beside the reading of the log
  record  `record` of the small log into an empty history, the whole process: at most 30 ms

What is compared runs in turns, and of each the least time counts: another program on the machine makes a run longer, never shorter.
Time is that of all processes together, user and system, or wall time, which counts on an idle machine only: the lesser of both.

With --history each is measured with a recorded run in the history. Exit code 1 when a limit is passed. With --limit only the ratio and the
reads are held to a limit: milliseconds depend on the machine, and those of a CI machine are nobody's promise.
"""

import argparse
import collections
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

LIMIT, SMALL_LIMIT, RECORD_LIMIT = 1.5, 0.050, 0.030
CHANGED, DIRTY = 200, 20
LOG = """#1 [internal] load build definition from Dockerfile
#1 transferring dockerfile: 80B done
#1 DONE 0.0s

#2 [internal] load .dockerignore
#2 transferring context: 2B done
#2 DONE 0.0s

#3 [internal] load metadata for docker.io/library/busybox:1.35
#3 DONE 0.0s

#4 [1/3] FROM docker.io/library/busybox:1.35
#4 DONE 0.0s

#5 [internal] load build context
#5 transferring context: {bytes} done
#5 DONE 1.2s

#6 [2/3] COPY . /app
#6 CACHED

#7 [3/3] RUN make -C /app
#7 CACHED

#8 exporting to image
#8 exporting layers done
#8 naming to docker.io/library/app done
#8 DONE 0.0s
"""


def git(directory, *arguments):
    """Runs git without the caller's settings."""
    keep = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    keep |= {f"GIT_{who}_{what}": "t@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    keep |= {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null"}
    return subprocess.run(["git", *arguments], cwd=directory, env=keep, check=True, capture_output=True).stdout


def repository(directory, files, size):
    """A repository of so many files of so many bytes each, with two commits and some files that are not committed."""
    directory.mkdir(parents=True)
    git(directory, "init", "--quiet", "--initial-branch=main")
    (directory / "Dockerfile").write_text("FROM busybox:1.35\nCOPY . /app\nRUN make -C /app\n")
    (directory / ".dockerignore").write_text(".git\n")
    block = bytes(range(256)) * (size // 256 + 1)
    paths = [pathlib.Path(f"src/{n % 97:02d}/{n % 13:02d}/file{n:05d}.txt") for n in range(files)]
    for number, path in enumerate(paths):
        path = directory / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%d\n" % number + block[:size])
    git(directory, "-c", "core.compression=0", "add", "--all")
    git(directory, "commit", "--quiet", "-m", "first")
    changed = paths[:: max(1, files // min(CHANGED, files))][:CHANGED]
    for path in changed:
        with open(directory / path, "ab") as file:
            file.write(b"changed\n")
    git(directory, "-c", "core.compression=0", "commit", "--quiet", "--all", "-m", "second")
    dirty = paths[1 :: max(1, files // min(DIRTY, files))][:DIRTY]
    for path in dirty:
        with open(directory / path, "ab") as file:
            file.write(b"not committed\n")
    # The index must be newer than the files, or git has to read them anew each time.
    time.sleep(1.1)
    git(directory, "status")
    return [directory / path for path in (*changed, *dirty)]


def measure(command, directory, environment):
    """Seconds of one run: user and system time of it and its children, and wall time."""
    with tempfile.TemporaryFile() as said:
        began = time.monotonic()
        process = subprocess.Popen(command, cwd=directory, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in (0, 1):
            said.seek(0)
            sys.exit(f"{command}: exit {process.returncode}: {said.read().decode(errors='replace')[-500:]}")
    return used.ru_utime + used.ru_stime, wall


def least(commands, directory, environment, runs, before=lambda: None):
    """Of each command the least CPU and the least wall time. They run in turns, after one run of each that warms the cache."""
    for command in commands:
        before()
        measure(command, directory, environment)
    times = [[] for _ in commands]
    for _ in range(runs):
        for command, of_command in zip(commands, times):
            before()
            of_command.append(measure(command, directory, environment))
    return [(min(cpu for cpu, _ in each), min(wall for _, wall in each)) for each in times]


def opened(command, directory, environment):
    """How often each file of the work tree is opened, and the programs that ran."""
    with tempfile.TemporaryDirectory() as place:
        subprocess.run(["strace", "-ff", "-qq", "-y", "-e", "trace=openat,open,execve", "-o", f"{place}/t", *command],
                       cwd=directory, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        counts, programs = collections.Counter(), []
        for trace in pathlib.Path(place).iterdir():
            text = trace.read_text(errors="replace")
            programs += [" ".join(re.findall(r'"([^"]*)"', arguments)) for arguments in re.findall(r"^execve\(\"[^\"]*\", \[(.*?)\].* = 0$", text, re.M)]
            for path in re.findall(r"^open(?:at)?\([^\n]*= \d+<([^>\n]*)>$", text, re.M):
                path = pathlib.Path(path)
                if path.is_file() and path.is_relative_to(directory) and ".git" not in path.relative_to(directory).parts:
                    counts[path] += 1
        return counts, programs


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bklog", type=pathlib.Path)
    parser.add_argument("--history", action="store_true")
    parser.add_argument("--limit", type=float, help=f"of the time beside git status (default {LIMIT}); without limits in milliseconds")
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--mib", type=int, default=477, help="of all files together (477 MiB are 500 MB)")
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--work", type=pathlib.Path, help="directory for the repositories; kept and used again")
    options = parser.parse_args()
    bklog, failed = str(options.bklog.resolve()), []
    limit, absolute = options.limit or LIMIT, options.limit is None
    work = (options.work or pathlib.Path(tempfile.mkdtemp(prefix="bklog-cost-"))).resolve()
    environment = {"PATH": os.environ["PATH"], "HOME": str(work), "LC_ALL": "C.UTF-8", "GIT_CONFIG_NOSYSTEM": "1"}
    try:
        # The small one first: what the system still has to write of the large one slows down whoever waits for a disk.
        for name, files, mib in (("small", 20, 0), ("large", options.files, options.mib)):
            place = work / f"{name}-{files}"
            if not place.exists():
                repository(place, files, max(200, mib * (1 << 20) // files))
            changed = [place / line for line in git(place, "diff", "--name-only", "HEAD~1").decode().splitlines()]
            log = work / f"{name}.log"
            log.write_text(LOG.format(bytes="2.51MB" if name == "large" else "2.51kB"))
            check = [bklog, "check", str(log), "--build", "docker build -t app .", "--since", "HEAD~1", "--format", "json"]
            if options.history:
                history = work / f"{name}-history"
                shutil.rmtree(history, ignore_errors=True)
                check += ["--history", str(history)]
                measure([*check, "--record"], place, environment)
            status = ["git", "--no-optional-locks", "status", "--porcelain=v2", "-z", "--untracked-files=all"]
            if name == "large":
                read = ["cat", *map(str, changed)]
                (check_cpu, check_wall), (status_cpu, status_wall), (read_cpu, read_wall) = least(
                    [check, status, read], place, environment, options.runs)
                by_cpu, by_wall = check_cpu / (status_cpu + read_cpu), check_wall / (status_wall + read_wall)
                print(f"time   check {check_cpu:.3f} s CPU, {check_wall:.3f} s wall; git status {status_cpu:.3f} / {status_wall:.3f} s; "
                      f"reading {len(changed)} changed files {read_cpu:.3f} / {read_wall:.3f} s")
                print(f"time   ratio {by_cpu:.2f} by CPU, {by_wall:.2f} by wall; limit {limit}")
                if min(by_cpu, by_wall) > limit:
                    failed.append("time")
                if not shutil.which("strace"):
                    print("reads  not counted: strace is not installed")
                    continue
                counts, programs = opened(check, place, environment)
                by_status, _ = opened(status, place, environment)
                twice = {path: count - by_status[path] for path, count in counts.items() if count - by_status[path] > 1}
                print(f"reads  {len(counts)} files opened, {len(twice)} of them more than once; {len(programs)} processes:")
                for program in sorted(programs):
                    print(f"         {program[:150]}")
                for path, count in sorted(twice.items())[:5]:
                    print(f"       {count} times: {path.relative_to(place)}")
                if twice or not counts:
                    failed.append("reads")
            else:
                show = [bklog, "show", str(log), "--format", "json"]
                (check_cpu, check_wall), (show_cpu, show_wall) = least([check, show], place, environment, options.runs)
                beside = min(check_wall - show_wall, check_cpu - show_cpu)
                print(f"small  check {check_wall * 1000:.1f} ms wall, {check_cpu * 1000:.1f} ms CPU; reading the log alone {show_wall * 1000:.1f} / "
                      f"{show_cpu * 1000:.1f} ms; limit {SMALL_LIMIT * 1000:.0f} ms beside it")
                if absolute and beside > SMALL_LIMIT:
                    failed.append("small")
                history = work / "new-history"
                record = [bklog, "record", str(log), "--project", "app", "--history", str(history)]
                [(record_cpu, record_wall)] = least(
                    [record], place, environment, options.runs, before=lambda: shutil.rmtree(history, ignore_errors=True))
                print(f"record {record_wall * 1000:.1f} ms wall, {record_cpu * 1000:.1f} ms CPU; limit {RECORD_LIMIT * 1000:.0f} ms")
                if absolute and min(record_wall, record_cpu) > RECORD_LIMIT:
                    failed.append("record")
    finally:
        if not options.work:
            shutil.rmtree(work, ignore_errors=True)
    print("passed" if not failed else f"FAILED: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
