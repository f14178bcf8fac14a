#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
#     test_bash.sh PROGRAM: completes some command lines as bash would.
set -euo pipefail

program=$(realpath "$1")
PATH=$(dirname "$program"):$PATH
# shellcheck disable=SC1090 # made by the program
source <("$program" completion bash)
failed=0

# expect "LINE" WORD...: the words are offered at the end of the line, and none with a '!'.
expect() {
    local line=$1 word
    shift
    read -r -a COMP_WORDS <<<"$line"
    [[ $line != *' ' ]] || COMP_WORDS+=("")
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    COMPREPLY=()
    _spaceport
    for word in "$@"; do
        if [[ " ${COMPREPLY[*]} " == *" ${word#!} "* ]]; then
            [[ $word != !* ]] || { echo "'$line' offers ${word#!}"; failed=1; }
        elif [[ $word != !* ]]; then
            echo "'$line' offers ${COMPREPLY[*]}, and not $word"
            failed=1
        fi
    done
}

cd "$(mktemp -d)"
export SPACEPORT_DATA=$PWD/data
mkdir space
touch file
expect 'spaceport ' build run doctor '!completion'
expect 'spaceport b' build '!run'
expect 'spaceport build --pr' --progress '!--plan'
expect 'spaceport build --progress ' auto plain json
expect 'spaceport build -' --tag -t --help
expect 'spaceport build ' space '!file'
expect 'spaceport build -f ' file
expect 'spaceport image ' pull rm inspect import '!build'
expect 'spaceport image rm --' --force '!--tag'
expect 'spaceport run --env-file ' file
expect 'spaceport run -p ' '!space'
expect 'spaceport help ' build image
rm -r "$PWD"
exit $failed
