# Sourced by the stories beside it; not run by itself. It starts a server of the story's own, with nobody in it but `root`, and stops it
# at the end. Every command is shown before it runs, with the name of who calls.
#
#   STONETOWN   the binary (default: `stonetown` on the path)
set -euo pipefail

command=${STONETOWN:-stonetown}
command -v "$command" >/dev/null || { echo "no $command: set STONETOWN to the binary" >&2; exit 1; }
command=$(command -v "$command")
case $command in /*) ;; *) command=$PWD/$command ;; esac

tell() { printf '\n\033[1m%s\033[0m\n' "$*"; }

# as NAME: who calls from here on.
as() {
  caller=$1
  STONETOWN_TOKEN=$(cat "$work/$1.token")
  export STONETOWN_TOKEN
}

# stonetown ...: runs a command as the caller, and ends the story where it fails.
stonetown() {
  show stonetown "$@"
  "$command" "$@" >"$work/said" || { cat "$work/said"; return 1; }
  sed 's/^/  /' "$work/said"
}

# credential NAME FLAGS...: hands out a credential, and keeps its token for `as`.
credential() {
  show stonetown credential issue "$@"
  "$command" credential issue "$@" >"$work/$1.token" 2>"$work/said"
  sed 's/^/  /' "$work/said"
}

# allowed RESOURCE PERMISSION SUBJECT: a check that has to say yes.
allowed() { answers 0 allowed "$@"; }

# denied RESOURCE PERMISSION SUBJECT: a check that has to say no.
denied() { answers 3 denied "$@"; }

# refused COMMAND...: a call that the server has to refuse to the caller.
refused() {
  local said code=0
  show stonetown "$@"
  said=$("$command" "$@" 2>&1) || code=$?
  echo "$said" | sed -n '1s/^/  /p'
  [ "$code" != 0 ] || fail "the call was not refused"
  case $said in
    *"(PermissionDenied)"* | *"(NotFound)"* | *"(Unauthenticated)"*) ;;
    *) fail "the call failed for another reason: $said" ;;
  esac
}

# stop: stops the server, so that its data can be looked at.
stop() {
  kill "$server"
  wait "$server" || true
  server=
}

answers() {
  local expected=$1 word=$2 code=0
  shift 2
  show stonetown permission check "$@" --consistency-full
  "$command" permission check "$@" --consistency-full --error-on-no-permission >/dev/null 2>"$work/errors" || code=$?
  [ "$code" = "$expected" ] || fail "not $word: exit code $code, $(cat "$work/errors")"
  echo "  $word"
}

show() {
  local word line=
  for word; do
    case $word in *[\ \'\$\{\*]*) line="$line '$word'" ;; *) line="$line $word" ;; esac
  done
  printf '%s $%s\n' "$caller" "$line"
}

fail() {
  echo "the story differs: $*" >&2
  exit 1
}

end() {
  local code=$?
  [ "$code" = 0 ] || tail -n 5 "$work/log" >&2
  [ -z "$server" ] || { kill "$server"; wait "$server"; } 2>/dev/null || true
  rm -rf "$work"
}

server=
work=$(mktemp -d "${TMPDIR:-/tmp}/stonetown.XXXXXX") # the X are mktemp's
trap end EXIT
trap 'exit 130' INT TERM
# Whatever the user's own commands call with stays out of the story.
unset STONETOWN_TOKEN STONETOWN_ENDPOINT STONETOWN_CONTEXT
# It is read before the server may have made it.
: >"$work/out"
"$command" serve --grpc-addr 127.0.0.1:0 --metrics-addr 127.0.0.1:0 --data-dir "$work/data" \
  --first-credential-file "$work/root.token" >"$work/out" 2>"$work/log" </dev/null &
server=$!
for _ in $(seq 300); do
  STONETOWN_ENDPOINT=$(sed -n 's/^serving grpc on //p' "$work/out")
  [ -z "$STONETOWN_ENDPOINT" ] || break
  kill -0 "$server" 2>/dev/null || fail "the server did not start"
  sleep 0.1
done
[ -n "$STONETOWN_ENDPOINT" ] || fail "the server did not start"
export STONETOWN_ENDPOINT
as root
