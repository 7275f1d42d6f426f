#!/bin/sh
# The nightly run: ingest new reviews, train, score the input. Called by cron (see crontab next to this file).
#
#   PIPELINE       the executable, an absolute path            PIPELINE_LAKE  the lake, an absolute path
#   TRAIN_OPTIONS  options of train (default: --arch bilstm)   SCORE_INPUT    what to score (default: incoming/ in the lake)
#   LOG            where everything is logged (default: pipeline.log in the lake)
#
# If a command has nothing to do, it exits with 99, and the next one still runs. Any other code but 0 stops the script, which
# reports it on stderr, for cron to mail, and exits with it.
set -u
lake="${PIPELINE_LAKE:?set PIPELINE_LAKE to the absolute path of the lake}"
pipeline="${PIPELINE:?set PIPELINE to the absolute path of the executable}"
input="${SCORE_INPUT:-$lake/incoming}"
log="${LOG:-$lake/pipeline.log}"

step() {
    echo "== $(date -u +%Y-%m-%dT%H:%M:%SZ) pipeline $*" >>"$log"
    "$pipeline" --lake "$lake" "$@" >>"$log" 2>&1
    code=$?
    if [ "$code" -ne 0 ] && [ "$code" -ne 99 ]; then
        echo "pipeline $1 ended with $code; see $log" >&2
        exit "$code"
    fi
}

mkdir -p "$lake" || exit 73
if ! (: >>"$log") 2>/dev/null; then
    echo "cannot write the log $log: set LOG to a file in an existing, writable folder" >&2
    exit 73
fi
step ingest
# shellcheck disable=SC2086  # the options are several words
step train --resume ${TRAIN_OPTIONS:---arch bilstm}
# Names that begin with a dot or an underscore are unfinished or belong to other tools; score skips them, too.
if [ -n "$(find -L "$input" -type f ! -path "$input*/[._]*" 2>/dev/null | head -n 1)" ]; then
    step score "$input"
fi
