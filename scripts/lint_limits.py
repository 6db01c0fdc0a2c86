#!/usr/bin/env python3
"""Makes large and hostile repositories, runs `bklog lint` on them, and says what it took.

usage: lint_limits.py BKLOG [--scale 1.0]

Time is reported, and compared with that of reading the same files; it fails only at limits that no machine should reach, because
other programs run beside it. Memory is the largest resident set of the process.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# Seconds and MiB at which something grows out of proportion, not what is wanted.
MOST_SECONDS = 60
MOST_MIB = 700


def services(root: Path, count: int) -> None:
    """So many services, half of the files Dockerfiles and half compose files, as a monorepo has them."""
    for number in range(count // 2):
        service = root / f"team{number % 40}" / f"service{number}"
        service.mkdir(parents=True)
        (service / "Dockerfile").write_text(
            "FROM python:3.12-slim AS base\nARG GIT_COMMIT_HASH\nWORKDIR /app\nRUN apt-get update && apt-get install -y curl\n"
            "COPY requirements.txt ./\nRUN pip install -r requirements.txt\nCOPY . /app/\n"
            'RUN echo "$GIT_COMMIT_HASH" > /commit\nCMD ["python", "-m", "app"]\n'
        )
        (service / "compose.yaml").write_text(
            f"services:\n  service{number}:\n    build:\n      context: .\n      args:\n        GIT_COMMIT_HASH: ${{GIT_COMMIT_HASH:-unknown}}\n"
            f"    image: registry.example.org/service{number}:latest\n    environment:\n      - PORT=80\n"
        )
        (service / "requirements.txt").write_text("requests==2.32.0\n")
        (service / "app.py").write_text("print(1)\n")


def one_compose(root: Path, count: int) -> None:
    """So many Dockerfiles over one context, named by one compose file."""
    lines = ["services:"]
    for number in range(count):
        service = root / f"service{number}"
        service.mkdir()
        (service / "Dockerfile").write_text("FROM node:22\nCOPY . .\nRUN npm ci\n")
        lines += [f"  s{number}:", "    build:", "      context: .", f"      dockerfile: service{number}/Dockerfile"]
    (root / "compose.yaml").write_text("\n".join(lines) + "\n")


def wide_context(root: Path, count: int) -> None:
    """A context with far more files than are looked at, and an ignore file of many patterns."""
    (root / "Dockerfile").write_text("FROM node:22\nCOPY . .\n")
    (root / ".dockerignore").write_text("".join(f"**/x{number}*\n" for number in range(2_000)))
    for number in range(count):
        directory = root / "node_modules" / f"m{number % 200}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"i{number}.js").write_text("")


def hostile(root: Path, _: int) -> None:
    """Everything that is meant to hurt, in one tree."""
    (root / "Dockerfile").write_text("FROM node:22\nCOPY . .\n")
    bomb = "a: &a [" + ", ".join("x" * 9) + "]\n"
    for name, before in zip("bcdefghijklmnopqrstuvwxyz", "abcdefghijklmnopqrstuvwxy"):
        bomb += f"{name}: &{name} [" + ", ".join([f"*{before}"] * 9) + "]\n"
    (root / "compose.yaml").write_text(bomb)
    (root / "compose.deep.yaml").write_text("[" * 500_000)
    (root / "docker-bake.hcl").write_text('target "a" {\n' + "x = [" * 20_000)
    (root / "latin.Dockerfile").write_bytes(b"FROM x\nRUN echo \xff\n")
    (root / "nest.sh").write_text("$(" * 200_000)
    (root / "loop").symlink_to(".")
    for name in ("big.Dockerfile", "compose.big.yaml", "big.sh"):
        with open(root / name, "wb") as file:
            file.truncate(100 << 20)


def measure(command: list[str], cwd: Path) -> tuple[float, float, int, float]:
    """Seconds of processor time, MiB, exit code and seconds by the clock; on one core where the system lets one choose."""
    pin = (lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})) if hasattr(os, "sched_setaffinity") else None
    started = time.monotonic()
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=pin)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = usage.ru_utime + usage.ru_stime
    return max(seconds, 1e-4), usage.ru_maxrss / 1024, process.returncode, time.monotonic() - started


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bklog", type=Path)
    parser.add_argument("--scale", type=float, default=1.0, help="factor for the number of files")
    args = parser.parse_args()
    bklog = args.bklog.resolve()
    if not bklog.is_file():
        parser.error(f"{bklog} is not there: build it first")
    cases = [
        ("2,000 Dockerfiles and compose files", services, 2_000),
        ("1,000 Dockerfiles, one context", one_compose, 1_000),
        ("a context of 40,000 files, 2,000 patterns", wide_context, 40_000),
        ("hostile files", hostile, 0),
    ]
    failed = 0
    for title, make, count in cases:
        title += "" if args.scale == 1 else f" (times {args.scale})"
        with tempfile.TemporaryDirectory() as directory:
            root = Path(directory)
            make(root, int(count * args.scale))
            files = [str(path) for path in root.rglob("*") if path.is_file() and not path.is_symlink() and path.stat().st_size < 1 << 20]
            started = time.monotonic()
            for file in files:
                Path(file).read_bytes()
            reading = time.monotonic() - started
            runs = [measure([str(bklog), "lint", "--format", "json", "--fail-on", "never", "."], root) for _ in range(3)]
            seconds, mib, code, wall = min(runs)
            wrong = code != 0 or seconds > MOST_SECONDS or mib > MOST_MIB
            failed += wrong
            ratio = seconds / max(reading, 1e-4)
            print(
                f"{'FAIL' if wrong else 'ok':4} {title}: {seconds:.2f} s of one core ({wall:.2f} s by the clock), {mib:.0f} MiB, "
                f"{ratio:.1f} times the reading of its {len(files):,} files, exit code {code}",
                flush=True,
            )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
