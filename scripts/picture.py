#!/usr/bin/env python3
"""Draw what a command prints on a terminal as an SVG, for the README.

usage: picture.py OUT.svg COMMAND [ARGUMENT]...
The command must print colour by itself (`--color always`). Only what bklog writes is understood: SGR colours and text.
"""
import html, re, subprocess, sys, unicodedata

COLOURS = {"31": "#e5534b", "32": "#57ab5a", "33": "#c69026", "34": "#539bf5", "36": "#39c5cf"}
CELL, LINE, PAD = 8.4, 19, 18


def width(text):
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def spans(line):
    style, at = {}, 0
    for text, codes in re.findall(r"([^\x1b]*)(?:\x1b\[([\d;]*)m)?", line):
        # SVG folds blanks, so every run of text between wider gaps stands in a place of its own.
        for piece in re.findall(r" {2,}|(?:[^ ]| (?! ))+", text):
            if piece.strip():
                yield at + width(piece) - width(piece.lstrip()), piece.strip(), dict(style)
            at += width(piece)
        for code in codes.split(";") if codes else []:
            if code in ("0", ""):
                style = {}
            elif code == "1":
                style["font-weight"] = "700"
            elif code == "2":
                style["fill"] = "#768390"
            elif code in COLOURS:
                style["fill"] = COLOURS[code]


def main():
    out, command = sys.argv[1], sys.argv[2:]
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    shown = ["bklog"] + [a.split("/")[-1] if "/" in a else a for a in command[1:] if a not in ("--color", "always")]
    shown = [a for n, a in enumerate(shown) if not (a == "--width" or (n and shown[n - 1] == "--width"))]
    lines = ["\x1b[2m$ \x1b[0m\x1b[1m" + " ".join(shown) + "\x1b[0m", ""] + run.stdout.decode().rstrip("\n").split("\n")
    columns = max(width(re.sub(r"\x1b\[[\d;]*m", "", line)) for line in lines)
    w, h = columns * CELL + 2 * PAD, len(lines) * LINE + 2 * PAD
    with open(out, "w") as f:
        f.write(f'<svg xmlns="http://www.w3.org/2000/svg" width="{w:.0f}" height="{h:.0f}" viewBox="0 0 {w:.0f} {h:.0f}" role="img">\n')
        f.write(f'<rect width="100%" height="100%" rx="10" fill="#1c2128"/>\n<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace" font-size="14" fill="#adbac7">\n')
        for n, line in enumerate(lines):
            y = PAD + n * LINE + 14
            for at, text, style in spans(line):
                attributes = "".join(f' {k}="{v}"' for k, v in style.items())
                length = width(text) * CELL
                f.write(f'<text x="{PAD + at * CELL:.1f}" y="{y}" textLength="{length:.1f}" lengthAdjust="spacingAndGlyphs"{attributes}>{html.escape(text)}</text>\n')
        f.write("</g>\n</svg>\n")


if __name__ == "__main__":
    main()
