#!/usr/bin/env bash
# Runs the unmodified client libraries of Python, Node, Go and Java against the server in STONETOWN_ENDPOINT, with the key in
# STONETOWN_TOKEN, or against those given as arguments: run.sh [ENDPOINT TOKEN]. Where STONETOWN_TESTING_ENDPOINT names a
# server for test suites (scripts/with-testing-server.sh), cases of the kind of the libraries' own suites run there.
# Without arguments also the programs of docs/api (examples/clients), each of which starts a server of its own, and our own
# clients (clients/).
# A language that is not installed is skipped with a line that says so, unless CI=true; Java also then.
set -euo pipefail
[ -z "${STONETOWN_BIN:-}" ] || STONETOWN_BIN=$(realpath "$STONETOWN_BIN")
cd "$(dirname "$0")"
[ $# = 0 ] && examples=../../examples/clients || examples=
export STONETOWN_ENDPOINT=${1:-${STONETOWN_ENDPOINT:?}} STONETOWN_TOKEN=${2:-${STONETOWN_TOKEN:?}}

passed=() skipped=() failed=()
suite() { # NAME TOOL HINT COMMAND...
  local name=$1 tool=$2 hint=$3; shift 3
  if ! command -v "$tool" >/dev/null; then
    echo "$name: $tool is missing ($hint)"
    if [ "${CI:-}" = true ]; then failed+=("$name"); else skipped+=("$name"); fi
  else
    echo "-- $name"
    if "$@"; then passed+=("$name"); else failed+=("$name"); fi
  fi
}

python_client() { local bin; bin=$(../../scripts/venv.sh python/requirements.txt) && "$bin/python" -m unittest discover -s python; }
node_client() { (cd node && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error && npm test --silent); }
java_client() { (cd java && mvn -B -ntp -Dstyle.color=never test | grep -E '^\[(ERROR|INFO\] Tests run:)' ; exit "${PIPESTATUS[0]}"); }
go_client() { (cd go && go test -count=1 ./...); }
# The suite that authzed-go ships, changed in nothing but the address of the server. Each of its tests has a token of its own.
go_own_suite() (
  copy=$(mktemp -d) && trap 'rm -rf "$copy"' EXIT
  cp -r "$(cd go && go mod download && go list -m -f '{{.Dir}}' github.com/authzed/authzed-go)/." "$copy" && chmod -R u+w "$copy"
  sed -i "s/localhost:50051/$STONETOWN_TESTING_ENDPOINT/" "$copy/v1/client_test.go"
  grep -q "$STONETOWN_TESTING_ENDPOINT" "$copy/v1/client_test.go" && cd "$copy" && go test -count=1 ./v1/
)

examples() { # LANGUAGE TOOL HINT
  if [ -n "$examples" ]; then suite "$1: examples of docs/api" "$2" "$3" "$examples/run.sh" "$1"; fi
}

own() { # LANGUAGE TOOL HINT
  if [ -n "$examples" ]; then suite "$1: our own client" "$2" "$3" ../../clients/test.sh "$1"; fi
}

suite "python: authzed" python3 "Debian: apt-get install python3-venv" python_client
examples python python3 "Debian: apt-get install python3-venv"
own python python3 "Debian: apt-get install python3-venv"
suite "node: @authzed/authzed-node" npm "Debian: apt-get install nodejs npm" node_client
examples node npm "Debian: apt-get install nodejs npm"
own typescript npm "Debian: apt-get install nodejs npm"
suite "go: authzed-go" go "https://go.dev/dl" go_client
examples go go "https://go.dev/dl"
own go go "https://go.dev/dl"
if [ -n "$examples" ] && command -v python3 >/dev/null && command -v npm >/dev/null; then
  suite "our own clients: generated code and licences" go "https://go.dev/dl" ../../clients/test.sh all
fi
if [ -n "${STONETOWN_TESTING_ENDPOINT:-}" ]; then
  suite "go: authzed-go's own suite" go "https://go.dev/dl" go_own_suite
fi
# Maven fetches its own parts from Maven Central, which not every network lets through.
if ! { command -v mvn && command -v java; } >/dev/null; then
  echo "java: mvn or java is missing (Debian: apt-get install maven default-jdk-headless)"
  skipped+=("java: com.authzed.api" "java: examples of docs/api")
elif ! fetched=$({ cd java && mvn -B -ntp -q test-compile && cd ../../../examples/clients/java &&
  mvn -B -ntp -q compile dependency:build-classpath; } 2>&1) && grep -qE "Could not (transfer|resolve|find artifact)|Unknown host" <<<"$fetched"; then
  echo "java: Maven Central cannot be reached"
  skipped+=("java: com.authzed.api" "java: examples of docs/api")
else
  suite "java: com.authzed.api" mvn "" java_client
  examples java mvn ""
fi

for name in "${passed[@]+"${passed[@]}"}"; do echo "passed: $name"; done
for name in "${skipped[@]+"${skipped[@]}"}"; do echo "skipped: $name"; done
for name in "${failed[@]+"${failed[@]}"}"; do echo "failed: $name"; done
echo "client suites: ${#passed[@]} passed, ${#failed[@]} failed, ${#skipped[@]} skipped"
[ ${#failed[@]} = 0 ]
