#!/usr/bin/env bash
# The steps of action.yml: evaluate a model, check it against its baselines, and leave the reports.
#
# Inputs come as variables, so that this runs on any machine: MODEL or RESULTS, and optionally TASKS, DATA, BASELINE,
# OUTPUT, and OPTIONS (further options of vlbench check, divided by blanks). The exit code is that of the verdict.
set -euo pipefail
output="${OUTPUT:-vlbench-results}"
arguments=(--baseline "${BASELINE:-baselines}" --junit "$output/junit.xml" --markdown "$output/check.md")
if [ -n "${TASKS:-}" ]; then
    arguments+=(--tasks "$TASKS")
fi
if [ -n "${MODEL:-}" ]; then
    arguments+=(--model "$MODEL" --output "$output")
    if [ -n "${DATA:-}" ]; then
        arguments+=(--data "$DATA")
    fi
elif [ -n "${RESULTS:-}" ]; then
    arguments+=("$RESULTS")
else
    echo "vlbench: give the input model, or the input results" >&2
    exit 2
fi
read -r -a more <<< "${OPTIONS:-}"
exec vlbench check "${arguments[@]}" ${more[@]+"${more[@]}"}
