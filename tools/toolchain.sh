# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Sourced by the scripts here: where tools are, and builds for tests.

say() { printf '== %s\n' "$*" >&2; }

# The first of these programs that is there.
tool() {
    local name
    for name in "$@"; do
        if command -v "$name"; then return; fi
    done
    printf 'none of these is installed: %s; run tools/setup test\n' "$*" >&2
    return 1
}

uv() {
    local own=.cache/tools/bin/uv
    if [[ -x $own ]]; then "$own" "$@"; else command uv "$@"; fi
}

# configure DIR COMPILER [MESON OPTION...]: once for each folder, then only what has changed.
configure() {
    local dir=$1 compiler=$2
    shift 2
    if [[ -f $dir/build.ninja ]]; then
        ninja -C "$dir" build.ninja
    else
        CC=$compiler meson setup "$dir" -Dtests=enabled -Dwerror=true "$@"
    fi
}

# Sanitizers in, as the tests want it. clang leaves their symbols open until the program is linked.
configure_test() {
    local options=(-Db_sanitize=address,undefined)
    if [[ $1 == clang ]]; then
        configure build-test-clang "$(tool clang-14 clang)" "${options[@]}" -Db_lundef=false
    else
        configure build-test-gcc gcc "${options[@]}"
    fi
}
