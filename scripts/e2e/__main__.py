"""End-to-end test of bklog with a real Docker engine; scripts/e2e.sh starts the engine and calls this.

usage: python3 scripts/e2e BKLOG [--no-check] [--only TEXT] [--work DIR]
       python3 scripts/e2e --record DIR
"""

import argparse
import pathlib
import signal
import sys
import tempfile
import time
import traceback

import compare
import histories
import images
import live
import recording
import run
from engine import Engine, EngineError
from freshness import FRESHNESS
from scenarios import SCENARIOS, Workshop


class Checks:
    """Prints one line a check and counts."""

    def __init__(self):
        self.passed = self.failed = 0

    def that(self, good, what, detail=None):
        """One check; `detail` says what was found when it fails."""
        if good:
            self.passed += 1
            print(f"ok    {what}")
        else:
            self.failed += 1
            print(f"FAIL  {what}" + ("" if detail is None else f": {detail}"))
        sys.stdout.flush()
        return good

    def equal(self, got, expected, what):
        """One check of two values."""
        return self.that(got == expected, what, f"got {got!r:.300}, expected {expected!r:.300}")


def test(bklog, only, work, freshness):
    """Runs all scenarios whose name holds `only`, with `freshness` also `bklog check` and `run`; gives the exit code."""
    checks, workshop = Checks(), Workshop(work)
    logs = pathlib.Path(work) / "logs"
    logs.mkdir()
    parts = [(scenario.__name__, scenario) for scenario in (*SCENARIOS, *FRESHNESS)] + [
        ("live", live.check_live), ("run", run.check_run), ("compose", run.check_compose), ("inside", run.check_log_in_context),
        ("images", images.check_images), ("histories", histories.check_histories)]
    freshness_only = ("run", "compose", "inside", "images", "histories")
    for name, scenario in parts:
        if only not in name:
            continue
        began, before = time.monotonic(), checks.failed
        try:
            if name == "live" or name in freshness_only and freshness:
                scenario(checks, workshop, bklog)
            elif name not in freshness_only:
                for made in scenario(workshop):
                    log = logs / f"{made.name}.log"
                    log.write_bytes(made.log)
                    compare.check_recording(checks, made, log, bklog)
                    if freshness and made.checkout:
                        compare.check_freshness(checks, made, log, bklog, logs.parent / f"history-{name}")
        except Exception as error:  # one broken scenario must not hide the others
            checks.that(False, f"{name}: the scenario runs", f"{type(error).__name__}: {error}")
            if not isinstance(error, EngineError):
                traceback.print_exc()
        print(f"      {name}: {time.monotonic() - began:.1f} s, {checks.failed - before} failed")
    if not checks.passed + checks.failed:
        checks.that(False, f"a scenario is called {only!r}")
    print(f"{checks.passed} passed, {checks.failed} failed")
    return 1 if checks.failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bklog", nargs="?", help="the program under test")
    parser.add_argument("--only", default="", metavar="TEXT", help="only scenarios whose function's name holds TEXT")
    parser.add_argument("--no-check", action="store_true", help="do not hold the verdicts of `bklog check` and `run` against the images")
    parser.add_argument("--work", help="directory for contexts and logs; kept (default: a temporary one, removed)")
    parser.add_argument("--record", metavar="DIR", help="write the logs and their truth to DIR instead of testing")
    options = parser.parse_args()
    # Ended from outside, it still ends the running build and removes its directory.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    if bool(options.bklog) == bool(options.record):
        parser.error("give either BKLOG or --record DIR")
    with tempfile.TemporaryDirectory(prefix="bklog-e2e-") as temporary:
        work = pathlib.Path(options.work or temporary).resolve()
        work.mkdir(parents=True, exist_ok=True)
        version = Engine(work / "version").version()
        print(f"engine: {version}")
        if options.record:
            return recording.write_all(Workshop(work), version, pathlib.Path(options.record))
        if "dockerd 20.10." not in version:
            print("      the names and numbers of steps are compared with what 20.10 prints; this engine may differ")
        bklog = pathlib.Path(options.bklog).resolve()
        if not bklog.is_file():
            parser.error(f"{options.bklog}: no such program")
        return test(bklog, options.only, work, not options.no_check)


if __name__ == "__main__":
    sys.exit(main())
