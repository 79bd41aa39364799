#!/usr/bin/env bash
# Lints what is under deploy/: the container file, the chart (linted, rendered, and its settings read by the server), the systemd
# unit, the alert rules. What a linter is missing for is said.
set -euo pipefail
cd "$(dirname "$0")/.."
stonetown=${STONETOWN_BIN:-target/debug/stonetown}
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT

if bin=$(scripts/venv.sh scripts/deploy.requirements.txt); then
  "$bin/hadolint" deploy/Containerfile
  "$bin/python" scripts/deploy.py deploy/helm/stonetown "$stonetown"
else
  code=$?
  [ "$code" = 3 ] && echo "hadolint, helm: skipped" || exit "$code"
fi

if command -v systemd-analyze >/dev/null; then
  # It looks for the binary, too.
  sed "s|=/usr/bin/stonetown|=$(realpath "$stonetown")|" deploy/systemd/stonetown.service >"$dir/stonetown.service"
  systemd-analyze verify "$dir/stonetown.service"
else
  echo "systemd-analyze: skipped"
fi

if command -v promtool >/dev/null && command -v python3 >/dev/null; then
  promtool check rules deploy/prometheus/alerts.yaml
  # The queries of the dashboard as rules, with something in place of Grafana's variables.
  python3 - deploy/grafana/stonetown.json >"$dir/dashboard.json" <<'END'
import json, sys
values = {"$__rate_interval": "5m", "$__range": "1h", "$instance": ".*", "$method": ".*"}
rules = []
for panel in json.load(open(sys.argv[1]))["panels"]:
    for target in panel.get("targets", []):
        expr = target["expr"]
        for name, value in values.items():
            expr = expr.replace(name, value)
        rules.append({"record": f"q:{len(rules)}", "expr": expr})
print(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
END
  promtool check rules "$dir/dashboard.json"
else
  echo "promtool: skipped"
fi
