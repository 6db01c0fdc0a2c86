#!/usr/bin/env bash
# Makes the fonts under assets/fonts from Debian's fonts-inter: cut to Latin and the signs that reports use, as OpenType for pictures and
# as WOFF2 for pages. Needs apt, and fonttools and brotli from PyPI. The licence (OFL-1.1) allows it; Inter names no reserved font name.
set -euo pipefail
cd "$(dirname "$0")/../assets/fonts"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --quiet install fonttools brotli
(cd "$work" && apt-get --quiet download fonts-inter && dpkg-deb --extract fonts-inter_*.deb inter)
signs=U+0020-007E,U+00A0-017F,U+2010-2015,U+2018-201E,U+2020-2022,U+2026,U+2190-2193,U+2212,U+25B2,U+25BC,U+FFFD
for weight in Regular SemiBold; do
    for flavor in "" woff2; do
        "$work/venv/bin/pyftsubset" "$work/inter/usr/share/fonts/opentype/inter/Inter-$weight.otf" --unicodes="$signs" \
            --layout-features=kern,tnum,calt,ccmp --name-IDs=1,2,3,4,6,16,17 --no-hinting --desubroutinize ${flavor:+--flavor=$flavor} \
            --output-file="Inter-$weight.${flavor:-otf}"
    done
done
{
    echo "Copyright 2020 The Inter Project Authors (https://github.com/rsms/inter)"
    echo
    echo "This Font Software is licensed under the SIL Open Font License, Version 1.1."
    echo
    # The licence's text as Debian's copyright file quotes it.
    sed -n '/^License: OFL-1.1$/,/^$/p' "$work/inter/usr/share/doc/fonts-inter/copyright" | sed '1d; s/^ \.$//; s/^ //'
} > OFL.txt
