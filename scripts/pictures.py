#!/usr/bin/env python3
"""Make the report's pictures for the README out of real builds (testdata/trend): the chart, and the page light and dark.

usage: pictures.py [BKLOG]        Needs chromium, as pages.py does.
"""
import base64, csv, os, pathlib, subprocess, sys, tempfile

import pages

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILDS = ROOT / "testdata/trend/sixty-real-builds"
# The page as far as it is shown: enough for the numbers, the first thing to do, and the chart.
WIDTH, HEIGHT = 1160, 1040


def record(bklog, history):
    with open(BUILDS / "builds.csv", newline="") as file:
        for row in csv.DictReader(file):
            log = BUILDS / row["log"]
            command = [bklog, "record", log, "--history", history, "--project", "watchparty", "--commit", row["commit"], "--branch", "main",
                       "--started-at", row["started_at"], "--finished-at", row["finished_at"]]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            last = row["finished_at"]
    return last


def photograph(page, scheme, path):
    chromium = pages.Chromium()
    try:
        target = chromium.send("Target.createTarget", url="about:blank")["targetId"]
        session = chromium.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        chromium.send("Page.enable", session)
        chromium.send("Emulation.setDeviceMetricsOverride", session, width=WIDTH, height=HEIGHT, deviceScaleFactor=1.5, mobile=False)
        chromium.send("Emulation.setEmulatedMedia", session, features=[{"name": "prefers-color-scheme", "value": scheme}])
        chromium.send("Page.navigate", session, url=page.resolve().as_uri())
        chromium.wait("Page.loadEventFired")
        picture = chromium.send("Page.captureScreenshot", session, format="png")["data"]
        path.write_bytes(base64.b64decode(picture))
    finally:
        chromium.close()


def main():
    bklog = sys.argv[1] if len(sys.argv) > 1 else ROOT / "target/release/bklog"
    docs = ROOT / "docs"
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        last = record(bklog, directory / "history")
        # All sixty builds are of one morning; a day is the time that the report is about.
        subprocess.run([bklog, "report", "--since", "24h", "--until", last, "--project", "watchparty", "--history", directory / "history",
                        "--out", directory / "report.html", "--charts", directory], check=True)
        (docs / "build-time.png").write_bytes((directory / "build-time.png").read_bytes())
        for scheme in ("light", "dark"):
            photograph(directory / "report.html", scheme, docs / f"report-{scheme}.png")


if __name__ == "__main__":
    main()
