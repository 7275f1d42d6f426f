#!/bin/sh
# For crontabs of earlier releases. New ones call 'pipeline nightly' themselves: see crontab next to this file.
set -u
if [ -n "${LOG:-}" ]; then
    echo "LOG is no longer used: each night has a log of its own in logs/ of the lake. Remove LOG from the crontab." >&2
    exit 2
fi
exec "${PIPELINE:?set PIPELINE to the absolute path of the executable}" \
    --lake "${PIPELINE_LAKE:?set PIPELINE_LAKE to the absolute path of the lake}" nightly \
    ${TRAIN_OPTIONS:+--train-options "$TRAIN_OPTIONS"} ${SCORE_INPUT:+--input "$SCORE_INPUT"} >/dev/null
