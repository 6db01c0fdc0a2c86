#!/usr/bin/env python3
"""Open pages in headless Chromium and see that they work: no error, nothing loaded, charts at every width, tables that sort.

usage: pages.py [--pictures DIR] PAGE.html...

Every page is opened at 400 and at 1600 pixels, light and dark. --pictures keeps a screenshot of each. Speaks the DevTools protocol over
Chromium's pipe, so it needs nothing but Python and a `chromium` (or the one that CHROMIUM names).
"""
import base64, json, os, pathlib, shutil, subprocess, sys, tempfile, time

WIDTHS = {400: 800, 1600: 1000}
DEADLINE = 60


class Chromium:
    def __init__(self):
        browser = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome") or sys.exit("no chromium: apt-get install chromium")
        self.profile = tempfile.mkdtemp(prefix="pages-")
        to_read, self.to = os.pipe()
        self.back, from_write = os.pipe()
        flags = ["--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
                 "--disable-background-networking", "--disable-dev-shm-usage", f"--user-data-dir={self.profile}"]

        def places():
            # Chromium reads commands from descriptor 3 and writes answers to 4; 10 and 11 keep these free while they move.
            os.dup2(to_read, 10), os.dup2(from_write, 11), os.dup2(10, 3), os.dup2(11, 4)

        self.process = subprocess.Popen([browser, *flags, "about:blank"], preexec_fn=places, close_fds=False, stderr=subprocess.DEVNULL)
        os.close(to_read), os.close(from_write)
        self.buffer, self.number, self.events = b"", 0, []

    def close(self):
        self.process.terminate()
        self.process.wait(20)
        shutil.rmtree(self.profile, ignore_errors=True)

    def read(self):
        while b"\0" not in self.buffer:
            piece = os.read(self.back, 1 << 20)
            if not piece:
                sys.exit("chromium went away")
            self.buffer += piece
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def send(self, method, session=None, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + DEADLINE
        while time.monotonic() < until:
            answer = self.read()
            if answer.get("id") == self.number:
                if "error" in answer:
                    sys.exit(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)
        sys.exit(f"{method}: no answer")

    def wait(self, name):
        until = time.monotonic() + DEADLINE
        while not any(event.get("method") == name for event in self.events):
            if time.monotonic() > until:
                sys.exit(f"{name} did not come")
            self.events.append(self.read())


# What the page must be able to do, asked from within; an answer is a list of complaints.
CHECK = r"""(() => {
  const wrong = [];
  const seen = (element) => { const box = element.getBoundingClientRect(); return box.width > 0 && box.height > 0; };
  if (document.documentElement.scrollWidth > innerWidth) wrong.push(`the page is ${document.documentElement.scrollWidth} wide`);
  for (const figure of document.querySelectorAll("figure")) {
    const charts = [...figure.querySelectorAll("svg.chart")].filter(seen);
    if (charts.length !== 1) wrong.push(`${charts.length} charts to be seen in a figure`);
    for (const chart of charts) {
      const { width, height } = chart.getBoundingClientRect();
      if (width < 300 || height < 150) wrong.push(`a chart of ${width} × ${height}`);
      if (!chart.querySelector("circle, polygon, polyline")) wrong.push("a chart without data");
      const text = [...chart.querySelectorAll("text")].map((t) => parseFloat(getComputedStyle(t).fontSize) * width / chart.viewBox.baseVal.width);
      if (Math.min(...text) < 9) wrong.push(`text of ${Math.min(...text)} pixels in a chart`);
    }
  }
  if (document.querySelectorAll("table.gantt").length && !document.querySelector("table.gantt svg rect, table.gantt svg circle")) wrong.push("a timeline without bars");
  for (const table of document.querySelectorAll("table.sortable")) {
    const cells = (at) => [...table.tBodies[0].rows].map((row) => row.cells[at].dataset.v ?? row.cells[at].textContent.trim());
    [...table.tHead.rows[0].cells].forEach((head, at) => {
      const button = head.querySelector("button");
      if (!button) return;
      for (const turn of [1, 2]) {
        button.click();
        const order = head.getAttribute("aria-sort");
        const number = head.classList.contains("n");
        const values = cells(at).map((value) => (number ? Number(value) : value));
        const compare = (a, b) => (number ? a - b : a.localeCompare(b)) * (order === "ascending" ? 1 : -1);
        if (!order || values.some((value, n) => n && compare(values[n - 1], value) > 0)) wrong.push(`${table.id}: ${head.textContent} does not sort (${order})`);
        if (number && values.some(Number.isNaN)) wrong.push(`${table.id}: ${head.textContent} holds what is no number`);
      }
    });
  }
  return wrong;
})()"""

KEYBOARD = r"""(() => { const button = document.querySelector("table.sortable th:not([aria-sort]) button"); button?.focus(); return !!button; })()"""
SORTED = r"""!!document.activeElement.closest("th")?.getAttribute("aria-sort")"""
CHART = r"""(() => { const box = [...document.querySelectorAll("svg.chart")].map((s) => s.getBoundingClientRect()).find((b) => b.width > 0);
  if (!box) return null; scrollBy(0, box.top - 100); return [box.left + box.width / 2, 100 + box.height / 2]; })()"""
TIP = r"""(() => { const tip = document.getElementById("tip"); return tip && !tip.hidden ? tip.textContent : ""; })()"""


def look(chromium, page, width, scheme, pictures):
    wrong = []
    target = chromium.send("Target.createTarget", url="about:blank")["targetId"]
    session = chromium.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    chromium.events.clear()
    for domain in ("Page", "Runtime", "Log", "Network"):
        chromium.send(f"{domain}.enable", session)
    chromium.send("Emulation.setDeviceMetricsOverride", session, width=width, height=WIDTHS[width], deviceScaleFactor=1, mobile=False)
    chromium.send("Emulation.setEmulatedMedia", session, features=[{"name": "prefers-color-scheme", "value": scheme}])
    chromium.send("Page.navigate", session, url=page.resolve().as_uri())
    chromium.wait("Page.loadEventFired")

    def ask(expression):
        answer = chromium.send("Runtime.evaluate", session, expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            wrong.append(str(answer["exceptionDetails"].get("exception", {}).get("description", answer)))
            return None
        return answer["result"].get("value")

    if pictures:
        picture = chromium.send("Page.captureScreenshot", session, captureBeyondViewport=True, format="png")["data"]
        (pictures / f"{page.stem}-{width}-{scheme}.png").write_bytes(base64.b64decode(picture))
    wrong += ask(CHECK) or []
    if ask(KEYBOARD):
        for kind in ("keyDown", "keyUp"):
            chromium.send("Input.dispatchKeyEvent", session, type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r")
        if not ask(SORTED):
            wrong.append("a table does not sort by keyboard")
    place = ask(CHART)
    if place:
        chromium.send("Input.dispatchMouseEvent", session, type="mouseMoved", x=place[0], y=place[1])
        if not ask(TIP):
            wrong.append("a chart tells nothing under the pointer")
    for event in chromium.events:
        method, params = event.get("method"), event.get("params", {})
        if method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            wrong.append(f"console: {params['entry']['text']}")
        elif method == "Runtime.exceptionThrown":
            wrong.append(f"exception: {params['exceptionDetails']}")
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
            wrong.append(f"console: {params['args']}")
        elif method == "Page.javascriptDialogOpening":
            wrong.append(f"a dialog opened: {params['message']}")
        elif method == "Network.requestWillBeSent" and not params["request"]["url"].startswith((page.resolve().as_uri(), "data:")):
            wrong.append(f"it loads {params['request']['url']}")
    chromium.send("Target.closeTarget", targetId=target)
    return wrong


def main():
    arguments, pictures = sys.argv[1:], None
    if arguments[:1] == ["--pictures"]:
        pictures = pathlib.Path(arguments[1])
        pictures.mkdir(parents=True, exist_ok=True)
        arguments = arguments[2:]
    if not arguments:
        sys.exit(__doc__)
    chromium, bad = Chromium(), 0
    try:
        for name in arguments:
            for width in WIDTHS:
                for scheme in ("light", "dark"):
                    wrong = look(chromium, pathlib.Path(name), width, scheme, pictures)
                    bad += bool(wrong)
                    print(f"{'FAIL' if wrong else 'ok  '} {name} at {width}, {scheme}")
                    for complaint in wrong:
                        print(f"     {complaint}")
    finally:
        chromium.close()
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
