#!/bin/sh
# Builds the image with the first container engine that works here, and prints the name it was given.
#   images/build.sh [options for the engine's build]      ENGINE=docker|podman|buildah chooses one
# PLATFORMS=linux/amd64,linux/arm64 builds for each of them, and one name for all. What is not the machine's own
# needs an emulator (qemu-user-static).
set -eu
cd "$(dirname "$0")/.."

fail() {
    echo "build: $*" >&2
    exit 1
}

works() { # A client may be installed without an engine behind it.
    command -v "$1" >/dev/null && "$1" info >/dev/null 2>&1
}

version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' pipelines/pachvault/__init__.py)
[ -n "$version" ] || fail "no __version__ in pipelines/pachvault/__init__.py"
image=pachvault/pachvault:$version

engine=${ENGINE:-}
if [ -z "$engine" ]; then
    for candidate in docker podman buildah; do
        if works "$candidate"; then
            engine=$candidate
            break
        fi
    done
    [ -n "$engine" ] || fail "no container engine works here: install podman or buildah, or start docker"
fi
case $engine in
docker | podman | buildah) ;;
*) fail "ENGINE is '$engine', not docker, podman or buildah" ;;
esac
works "$engine" || fail "'$engine info' fails: $engine is not installed, or its engine is not running"

# The commit's time stands for the build's, so that the same sources give the same image.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH DOCKER_BUILDKIT=1

revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)

set -- --file images/Dockerfile --build-arg "VERSION=$version" --build-arg "REVISION=$revision" "$@" .
name=--tag
if [ -n "${PLATFORMS:-}" ]; then
    [ "$engine" = docker ] || name=--manifest
    set -- --platform "$PLATFORMS" "$@"
fi
case $engine in
docker) docker build "$name" "$image" "$@" ;;
podman) podman build "$name" "$image" --timestamp "$SOURCE_DATE_EPOCH" "$@" ;;
buildah) buildah bud "$name" "$image" --timestamp "$SOURCE_DATE_EPOCH" "$@" ;;
esac >&2
echo "$image"
