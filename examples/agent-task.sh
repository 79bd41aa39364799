#!/usr/bin/env bash
# An AI agent gets an identity of its own, exactly the access of its task, for exactly the time of it; and afterwards it can be shown
# what it was allowed, and that nobody altered the record of it.
. "$(dirname "$0")/story.sh"

tell "The platform team describes containers, clusters and repositories."
cat >"$work/schema.zed" <<'ZED'
use expiration

definition agent {}

definition container {
  relation operator: agent
  permission restart = operator
}

definition cluster {
  relation viewer: agent
  relation scaler: agent with expiration
  permission view = viewer
  permission scale = scaler
}

definition repository {
  relation reader: agent
  relation deployer: agent with expiration
  permission read = reader + deployer
  permission write_manifests = deployer
}
ZED
stonetown schema write "$work/schema.zed"

tell "Ada and Sam are people. The agent is a principal of its own, and Ada answers for it. agent:7 stands for it in relationships."
stonetown principal create ada --kind human
stonetown principal create sam --kind human
stonetown principal create fixer --kind agent --owner ada --subject agent:7
stonetown principal create gateway --kind service --owner ada
stonetown principal give gateway checker store:default --reason "asks before each action"
stonetown principal give ada auditor store:default
stonetown principal give sam member group:sre
credential ada
credential sam
credential gateway
as ada
credential fixer --reason "ticket 81"

tell "Standing access is narrow: one container, and reading one repository."
as root
stonetown relationship create container:c1 operator agent:7
stonetown relationship create cluster:main viewer agent:7
stonetown relationship create repository:shop reader agent:7
as gateway
allowed container:c1 restart agent:7
denied container:c2 restart agent:7
allowed repository:shop read agent:7
denied repository:shop write_manifests agent:7
denied cluster:main scale agent:7

tell "The agent itself may make no call that lists, reads or writes: it has a credential, and no power over the server."
as fixer
stonetown whoami
refused permission lookup-resources repository read agent:7
refused relationship read repository
refused relationship create container:c2 operator agent:7
refused schema read

tell "What is wider has to be asked for. Writing manifests is approved by a rule, for a few minutes and a named task; scaling by the SREs."
cat >"$work/manifests.yaml" <<'YAML'
name: manifests
edges:
  - repository:${repository}#deployer@${beneficiary}
parameters:
  repository: {one_of: [shop]}
answers:
  - repository:${repository}#write_manifests
ttl_max: 10m
total_max: 10m
auto:
  - {name: short and for a task, when: 'ttl_seconds <= 600 && task != ""', approve: true}
owner: root
requesters: ["sys/principal:fixer"]
YAML
cat >"$work/scale.yaml" <<'YAML'
name: scale
edges:
  - cluster:${cluster}#scaler@${beneficiary}
parameters:
  cluster: {one_of: [main]}
answers:
  - cluster:${cluster}#scale
ttl_max: 15m
total_max: 1h
stages:
  - name: sre
    approvers: ["sys/group:sre#member"]
    need: 1
    timeout: 10m
owner: root
requesters: ["sys/principal:fixer"]
YAML
as root
stonetown grant template put "$work/manifests.yaml"
stonetown grant template put "$work/scale.yaml"

tell "A denial says what could be asked for. The agent asks, for its task."
as fixer
stonetown grant find repository:shop write_manifests
stonetown grant request manifests --param repository=shop --ttl 5m --task deploy-81 --reason "new limits"
as gateway
allowed repository:shop write_manifests agent:7
tell "A narrow approval never satisfies a wider action."
denied cluster:main scale agent:7

tell "Scaling waits for a person. The agent cannot approve it, nor can Ada, who is no SRE; Sam can."
as fixer
grant=$("$command" --json grant request scale --param cluster=main --ttl 5m --task deploy-81 --reason "a full queue" |
  sed -n 's/.*"id": *"\([0-9a-f]*\)".*/\1/p')
show stonetown grant request scale --param cluster=main --ttl 5m --task deploy-81 --reason "a full queue"
refused grant approve "$grant"
as ada
refused grant approve "$grant"
as gateway
denied cluster:main scale agent:7
as sam
stonetown grant list --inbox
stonetown grant approve "$grant" --comment "until the queue is empty"
as gateway
allowed cluster:main scale agent:7

tell "The task is done: everything that it was given for it ends."
as fixer
stonetown grant complete deploy-81
as gateway
denied cluster:main scale agent:7
denied repository:shop write_manifests agent:7
allowed container:c1 restart agent:7

tell "Something is wrong with the agent: it is cut off, whatever it still holds."
as root
stonetown principal quarantine fixer --reason "reads far more than usual"
as fixer
refused whoami
as gateway
denied container:c1 restart agent:7

tell "Afterwards: who was allowed what, and the proof that nobody altered the record."
stop
stonetown audit search --data-dir "$work/data" --subject agent:7 --limit 5
stonetown audit verify "$work/data"
