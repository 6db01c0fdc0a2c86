#!/usr/bin/env python3
"""Holds every output format of `bklog check` to what its readers demand, on logs of the test data and on a hostile one.

usage: scripts/formats.py BKLOG

  sarif     the published schema of SARIF 2.1.0 (testdata/schemas), and unique partial fingerprints
  gitlab    the fields that GitLab's Code Quality reads: description, check_name, fingerprint (unique), severity, location
  junit     xmllint reads it; the counts of the suites are those of their cases
  github    each line is one workflow command, and what actions/toolkit decodes from it is one text again
  markdown  no line break out of a table's cell, no raw HTML but our own
  json      the schema's name and the counts of the summary
  text      no control character

The logs lie in a subdirectory of a repository, and all but json and text must name files from its top.

Needs python3-jsonschema and xmllint (apt: python3-jsonschema libxml2-utils). Exit code 1 when something is wrong.
"""

import gzip
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

import jsonschema

ROOT = pathlib.Path(__file__).resolve().parent.parent
LOGS = ["format/001-single-stage", "format/002-single-stage-cached", "format/014-long-unicode-names", "format/017-failing-run", "format/030-add-url-git",
        "format/042-cache-import-missing", "format/049-bake-compose", "format/060-output-odd", "format/169-ansi-in-names"]
HOSTILE = "a,b:c::error file=x::y%0A%25 ##[error]z ##vso[task.complete] \x1b[31mred \u202e <b>&amp;</b> ]]> |`*_[l](u)| \"' \u2028 \u00c4\u65e5"
# Where the job runs, from the top of the repository.
JOB = "services/job/"
# Our own markup in Markdown.
OWN = re.compile(r"<br>|</?details>|</?summary>")


class Failure(Exception):
    """What is wrong with an output."""


def need(good, what):
    if not good:
        raise Failure(what)


def sarif(text, schema):
    log = json.loads(text)
    jsonschema.Draft7Validator(schema, format_checker=jsonschema.FormatChecker()).validate(log)
    results = log["runs"][0]["results"]
    fingerprints = [result["partialFingerprints"]["bklog/v1"] for result in results]
    need(len(set(fingerprints)) == len(fingerprints), "two results have one fingerprint")
    rules = [rule["id"] for rule in log["runs"][0]["tool"]["driver"]["rules"]]
    for result in results:
        need(rules[result["ruleIndex"]] == result["ruleId"], "ruleIndex names another rule")
        for location in result["locations"]:
            artifact = location["physicalLocation"]["artifactLocation"]
            need(re.fullmatch(r"[A-Za-z0-9._~/@+,=:%-]+", artifact["uri"]), f"no URI: {location}")
            need(artifact["uri"].startswith(JOB) and artifact["uriBaseId"] == "%SRCROOT%", f"not from the top of the repository: {location}")
    return len(results)


def gitlab(text, _):
    issues = json.loads(text)
    for issue in issues:
        need(set(issue) >= {"description", "check_name", "fingerprint", "severity", "location"}, f"a field is missing: {issue}")
        need(issue["severity"] in ("info", "minor", "major", "critical", "blocker"), f"severity: {issue}")
        need(issue["description"] and "\n" not in issue["description"], f"description: {issue}")
        need(issue["location"]["path"].startswith(JOB) and issue["location"]["lines"]["begin"] >= 1, f"location: {issue}")
    fingerprints = [issue["fingerprint"] for issue in issues]
    need(len(set(fingerprints)) == len(fingerprints), "two issues have one fingerprint")
    return len(issues)


def junit(text, _):
    lint = subprocess.run(["xmllint", "--noout", "-"], input=text.encode(), capture_output=True)
    need(lint.returncode == 0, lint.stderr.decode(errors="replace")[:300])
    root = xml.etree.ElementTree.fromstring(text)
    need(root.tag == "testsuites", root.tag)
    for suite in root:
        cases = suite.findall("testcase")
        need(int(suite.get("tests")) == len(cases), "the number of tests")
        need(int(suite.get("failures")) == sum(case.find("failure") is not None for case in cases), "the number of failures")
        need(all(case.get("name") and case.get("classname") for case in cases), "a case without a name")
        need(all(case.get("file", JOB).startswith(JOB) for case in cases), "a file that is not named from the top of the repository")
        for failure in suite.iter("failure"):
            need(failure.get("message") and failure.get("type"), "a failure without a message")
    return sum(1 for _ in root.iter("testcase"))


def github(text, _):
    for line in text.splitlines():
        command = re.fullmatch(r"::(error|warning|notice) ([^:]*)::(.*)", line)
        need(command, f"no workflow command: {line!r}")
        properties = dict(pair.split("=", 1) for pair in command[2].split(","))
        need(set(properties) <= {"file", "line", "endLine", "title"} and "title" in properties, f"properties: {properties}")
        need(not re.search(r"%(?!25|0A|0D|3A|2C)", command[2] + command[3]), f"a percent sign of its own: {line!r}")
        need(properties.get("file", JOB).startswith(JOB), f"not from the top of the repository: {line!r}")
        need("##" not in line, f"a command for another system: {line!r}")
    return len(text.splitlines())


def markdown(text, _):
    for line in text.splitlines():
        need(not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u2028\u202e]", line), f"a control character: {line!r}")
        need("<" not in OWN.sub("", line), f"HTML of a log: {line!r}")
        if line.startswith("| "):
            bars = len(re.findall(r"(?<!\\)(?:\\\\)*\|", line))
            need(bars in (4, 6), f"{bars} bars in a row: {line!r}")
    return len(text.splitlines())


def report(text, _):
    document = json.loads(text)
    need(document["schema"] == "bklog.check/1", document["schema"])
    for verdict in ("stale", "suspect", "fresh", "unknown"):
        need(document["summary"][verdict] == sum(step["verdict"] == verdict for step in document["steps"]), f"the number of {verdict} steps")
    shown = [finding for finding in document["findings"] if not finding["suppressed"]]
    need(document["summary"]["errors"] == sum(finding["severity"] == "error" for finding in shown), "the number of errors")
    return len(document["findings"])


def terminal(text, _):
    need(not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u202a-\u202e]", text), "a control character")
    need(not re.search(r"^\s*::|##", text, re.M), "a command for a CI system")
    return len(text.splitlines())


FORMATS = {"sarif": sarif, "gitlab": gitlab, "junit": junit, "github": github, "markdown": markdown, "json": report, "text": terminal}


def hostile(directory):
    """A Dockerfile whose instructions hold what breaks formats, and the log of its build; gives the arguments for check."""
    name = f"RUN curl https://h/x | sh # {HOSTILE}"
    (directory / "Dockerfile,a:b%").write_text(f"FROM s:1\nCOPY src /app\n{name}\n")
    (directory / "bklog.toml").write_text('[rules]\nstale-run = "error"\n[require]\nprune = true\n')
    log = directory / "hostile,%.log"
    log.write_text("#1 [internal] load build definition from Dockerfile,a:b%\n#1 transferring dockerfile: 80B done\n#1 DONE 0.0s\n\n#2 [1/3] FROM docker.io/library/s:1\n"
                   f"#2 DONE 0.0s\n\n#3 [2/3] COPY src /app\n#3 CACHED\n\n#4 [3/3] {name}\n#4 CACHED\n\n#5 exporting to image\n#5 DONE 0.0s\n")
    return [str(log), "--build", "docker build -f 'Dockerfile,a:b%' ."]


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    bklog = str(pathlib.Path(sys.argv[1]).resolve())
    schema = json.loads((ROOT / "testdata/schemas/sarif-2.1.0.json").read_text())
    failed = count = 0
    with tempfile.TemporaryDirectory() as place:
        subprocess.run(["git", "init", "-q", place], check=True)
        place = pathlib.Path(place, JOB)
        place.mkdir(parents=True)
        environment = {"PATH": os.environ["PATH"], "HOME": str(place), "GITHUB_STEP_SUMMARY": str(place / "summary.md")}
        cases = [hostile(place)]
        for log in LOGS:
            source = ROOT / "testdata" / log / "plain.log"
            copy = place / f"{log.replace('/', '-')}.log"
            copy.write_bytes(source.read_bytes() if source.exists() else gzip.decompress(source.with_suffix(".log.gz").read_bytes()))
            cases.append([str(copy)])
        for arguments in cases:
            for name, check in FORMATS.items():
                (place / "summary.md").unlink(missing_ok=True)
                done = subprocess.run([bklog, "check", *arguments, "--format", name], cwd=place, env=environment, stdin=subprocess.DEVNULL, capture_output=True)
                label = f"{name} of {pathlib.Path(arguments[0]).name}"
                try:
                    need(done.returncode in (0, 1, 4), f"exit {done.returncode}: {done.stderr.decode(errors='replace')}")
                    found = check(done.stdout.decode(), schema)
                    if name == "github":
                        need((place / "summary.md").exists(), "no job summary")
                        markdown((place / "summary.md").read_text(), schema)
                    need(found or arguments is not cases[0], "nothing was found, so nothing was tested")
                    print(f"ok    {label}: {found}")
                except (Failure, ValueError, jsonschema.ValidationError, xml.etree.ElementTree.ParseError) as error:
                    failed += 1
                    print(f"FAIL  {label}: {str(error)[:500]}")
                count += 1
    print(f"{count - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
