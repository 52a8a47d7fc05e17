#!/usr/bin/env bash
# Runs every test twice: from the sources (interpreted) and against the installed package (compiled by mypyc).
# Both runs are pytest's; the exit code is that of the first that failed. Arguments go to pytest.
set -u
cd "$(dirname "$0")/.."
python=.venv/bin/python
workers=${PYTEST_WORKERS:-$(($(nproc) + 1))}  # one more than processors: a test often waits for a process
# The tests of a file stay in one process: what they share is started once, not once in each process. The files keep their order, so that
# the quick ones of tests/unit come last, and no process is left alone with a long one.
# A test that hangs where no timeout of its own reaches it ends its process, with the stacks of all threads; the others go on.
# Portico is started some hundred times. Without bytecode each start from the sources takes 0.4 s instead of 0.15.
unset PYTHONDONTWRITEBYTECODE
status=0
bounds=(--max-worker-restart 3 -o faulthandler_timeout=180 -o faulthandler_exit_on_timeout=true)

run() {
  local title=$1; shift
  echo "== $title"
  "$@" -m pytest -n "$workers" --dist loadfile --no-loadscope-reorder "${bounds[@]}" "${extra[@]}"
  local code=$?
  [ $code = 0 ] || [ $status != 0 ] || status=$code
}

extra=("$@")
run "interpreted" env PYTHONPATH="$PWD/src" "$python"

form=$(cd / && "$OLDPWD/$python" -m portico -V 2>&1 | sed -n 's/^data plane: //p')
if [ "$form" = "compiled by mypyc" ]; then
  run "compiled" "$python"
else
  echo "== compiled: not run, the installed package is interpreted (no C compiler)"
fi
exit $status
