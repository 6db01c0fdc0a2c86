"""`bklog check --image` on archives of real images, with nothing recorded: the bytes alone decide.

Each case is built, built again (every step CACHED), and built a third time after an unseen change of the file `a`. The truth of a COPY
that takes `a` is fresh, fresh and stale; that of every other step is fresh. No step of the image may be left suspect or unknown.
"""

import dataclasses
import io
import os
import tarfile

from compare import run
from freshness import Repository
from scenarios import write

BASE = "FROM busybox:1.35\n"
FILES = {"a": "the first a\n", "b": "the only b\n", "d/x": "x in d\n", "d/e/y": "y below d\n", "empty": "", "w w": "blank\n",
         ".dockerignore": ".git\nDockerfile\n.dockerignore\n"}


@dataclasses.dataclass
class Case:
    """A Dockerfile; `stale` are texts of the steps that are stale after the change, one of them in every name."""

    name: str
    dockerfile: str
    stale: tuple
    # Steps of earlier stages are none of the image: what the bytes do not show of them stays open.
    open: tuple = ()
    # The Dockerfile of the base image.
    base: str = ""


CASES = (
    Case("forms", BASE + "WORKDIR srv\nWORKDIR deep\nARG D=/opt\nCOPY a ./\nCOPY a /renamed\nCOPY --chown=1:1 a b /owned/\nCOPY --chmod=755 b $D/b\n"
         "COPY d /dir\nCOPY [\"w w\", \"empty\", \"/json/\"]\nCOPY ? /glob/\nADD a d /added/\nADD t.tgz /unpacked\n"
         "RUN mkdir /real && ln -s /real /alias\nCOPY a /alias/\n"
         "RUN rm -r /renamed /glob && echo more >> /owned/a && mv /dir /moved\nLABEL x=y\n",
         ("COPY a ./", "COPY a /renamed", "--chown", "COPY ? /glob/", "ADD a d", "COPY a /alias/")),
    Case("onbuild", "FROM images-base\nCOPY b /b\n", ("COPY a ./",), base=BASE + "WORKDIR /usr/src\nONBUILD COPY a ./\nONBUILD RUN true\n"),
    Case("moved", BASE.replace("\n", " AS build\n") + "WORKDIR /src\nCOPY . .\nRUN mkdir dist && cp a b dist/\n" + BASE
         + "COPY --from=build /src/dist /www\nCOPY --from=build /src/d /d\n", ("--from=build /src/dist", "COPY . ."), open=("COPY . .",)),
    Case("mount", BASE + "RUN --mount=type=bind,source=a,target=/a cp /a /etc/a\n", ("RUN --mount",)),
    Case("fetch", BASE + "RUN (wget -q -O /x http://127.0.0.1:9/x || echo none > /x) && echo fetched\nCOPY a /a\n", ("COPY a",)),
    Case("same", BASE + "COPY a /a\nRUN echo other > /a\nCOPY a /a\n", ("COPY a /a",)),
)


def archive(files):
    """A gzipped tar of these files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    return out.getvalue()


def check_images(checks, workshop, bklog):
    """Builds every case three times and holds the verdicts by the image alone against what was changed."""
    for case in CASES:
        engine, context = workshop.fresh(f"image-{case.name}")
        if case.base:
            base = context.parent / "base"
            write(base, {"Dockerfile": case.base})
            engine.build(base, tag="images-base")
        repository = Repository(context)
        (context / "t.tgz").write_bytes(archive({"in/t": "in the archive\n"}))
        repository.commit("First version", FILES | {"Dockerfile": case.dockerfile})
        for phase in ("first", "again", "unseen"):
            if phase == "unseen":
                repository.rewrite_unseen("a", "the other a\n")
                os.unlink(context / ".git/index")
                repository.commit("Change a, same size, time put back")
            made = engine.build(context, tag=f"images-{case.name}")
            label = f"image {case.name}, {phase}"
            if not checks.that(made.image is not None, f"{label}: it is built", made.log[-300:]):
                break
            log, saved = context.parent / "log", context.parent / "image.tar"
            log.write_bytes(made.log)
            saved.write_bytes(made.image.archive)
            command = made.command.split(" ", 1)[1]
            code, document, errors = run(bklog, "check", str(log), "--build", command, "--commit", repository.head(), "--image", str(saved),
                                         directory=str(context))
            if document is None:
                checks.that(False, f"{label}: prints JSON", f"exit {code}: {errors[-300:]}")
                continue
            wrong, seen = [], set()
            for step in document["steps"]:
                name, verdict = step["name"], step["verdict"]
                expected = "stale" if phase == "unseen" and any(text in name for text in case.stale) else "fresh"
                seen |= {text for text in case.stale if text in name and verdict == "stale"}
                if verdict is None or verdict == expected or verdict != "stale" and any(text in name for text in case.open):
                    continue
                wrong.append(f"{name} is {verdict}, not {expected}: {step['because']}")
            checks.that(not wrong, f"{label}: every verdict is that of the bytes", "; ".join(wrong))
            checks.equal(document.get("notes"), [], f"{label}: nothing is left to say")
            if phase == "unseen":
                missed = [text for text in case.stale if text not in seen and text not in case.open]
                checks.that(not missed, f"{label}: every stale step is found", missed)
