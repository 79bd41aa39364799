#!/usr/bin/env bash
# Whoever is on call gets access in an emergency at once, for minutes; somebody else has to look at it afterwards.
. "$(dirname "$0")/story.sh"

tell "Who repairs a database has been given that for a while, and is on call for its service."
cat >"$work/schema.zed" <<'ZED'
use expiration

definition person {}

definition service {
  relation on_call: person
}

definition database {
  relation service: service
  relation granted: person with expiration
  permission repair = granted & service->on_call
}
ZED
stonetown schema write "$work/schema.zed"
for name in dana eli mara; do
  stonetown principal create "$name" --kind human --subject "person:$name"
done
stonetown principal create console --kind service --owner mara
stonetown principal give console checker database
for name in dana eli; do
  stonetown principal give "$name" member group:responders
done
stonetown principal give mara member group:managers
stonetown relationship create database:orders service service:shop
stonetown relationship create service:shop on_call person:dana
for name in dana eli mara console; do
  credential "$name"
done

tell "Access is asked for and approved by a manager; in an emergency it comes first, for two seconds in this story, and is reviewed."
cat >"$work/repair.yaml" <<'YAML'
name: repair
edges:
  - database:${database}#granted@${beneficiary}
parameters:
  database: {one_of: [orders]}
answers:
  - database:${database}#repair
ttl_max: 1h
total_max: 4h
stages:
  - name: manager
    approvers: ["sys/group:managers#member"]
    need: 1
    timeout: 30m
emergency: {ttl: 2s, reviewers: ["sys/group:managers#member"]}
reason_required: true
owner: root
requesters: ["sys/group:responders#member"]
YAML
as root
stonetown grant template put "$work/repair.yaml"

tell "Night. Nobody has access, and the manager is asleep."
as console
denied database:orders repair person:dana
as dana
stonetown grant find database:orders repair
tell "Dana does not wait. It takes a reason."
refused_input() {
  local said code=0
  show stonetown "$@"
  said=$("$command" "$@" 2>&1) || code=$?
  echo "$said" | sed -n '1s/^/  /p'
  case $code:$said in 0:*) fail "the input was taken" ;; *"(InvalidArgument)"*) ;; *) fail "another error: $said" ;; esac
}
refused_input grant request repair --param database=orders --emergency
stonetown grant request repair --param database=orders --emergency --reason "orders are lost" --ticket INC-7
as console
allowed database:orders repair person:dana

tell "Eli has the same right to ask, and is not on call: the grant alone is not enough."
as eli
stonetown grant request repair --param database=orders --emergency --reason "helping"
as console
denied database:orders repair person:eli

tell "It ends by itself. No second emergency before the first has been looked at, and nobody looks at their own."
sleep 3
as console
denied database:orders repair person:dana
as dana
refused_input grant request repair --param database=orders --emergency --reason "once more"
as mara
stonetown grant list
as dana
grant=$("$command" --json grant list --requester dana | sed -n 's/.*"id": *"\([0-9a-f]*\)".*/\1/p' | head -n 1)
refused grant review "$grant" --comment "all good"
as mara
stonetown grant review "$grant" --comment "a real outage"

tell "Afterwards: every change with its reason, and the proof that nobody altered the record."
stop
stonetown audit search --data-dir "$work/data" --log changes --limit 100 --json | grep -c stonetown.reason
stonetown audit verify "$work/data"
