"""The services of authzed.api.materialize.v0, which the package `authzed` has not: over HTTP/JSON."""
# [connect]
import json
import os
import urllib.request

ADDRESS = f"http://{os.environ['STONETOWN_ENDPOINT']}/authzed.api.materialize.v0."
BEARER = {"Authorization": f"Bearer {os.environ['STONETOWN_TOKEN']}"}


def call(method, body, metadata=None):
    """The answers of a call, as they come."""
    request = urllib.request.Request(ADDRESS + method, json.dumps(body).encode(), BEARER | (metadata or {}))
    with urllib.request.urlopen(request) as lines:
        for line in lines:
            answer = json.loads(line)
            yield answer.get("result", answer)
# [/connect]


def describe(change):
    child = change.get("childMember") or change["childSet"]
    relation = child.get("permissionOrRelation") or child.get("optionalPermissionOrRelation")
    parent = change["parentSet"]
    return (f"{change['operation']} {parent['objectType']}:{parent['objectId']}#{parent['permissionOrRelation']}"
            f" has {child['objectType']}:{child['objectId']}" + (f"#{relation}" if relation else ""))


# [lookup]
answers = list(call("WatchPermissionSetsService/LookupPermissionSets", {"limit": 100}))
for line in sorted(describe(answer["change"]) for answer in answers):
    print(line)
token = answers[-1]["change"]["atRevision"]
# [/lookup]

# [watch]
answers = call(
    "WatchPermissionSetsService/WatchPermissionSets", {}, metadata={"stonetown-watch-from": "start"})
for answer in answers:  # without an end
    if "change" in answer:
        pass  # apply it: SET_OPERATION_ADDED or SET_OPERATION_REMOVED
    elif "completedRevision" in answer:
        token = answer["completedRevision"]  # store it with what was applied
        # [/watch]
        print("complete")
        break

# [watch-permissions]
answers = call("WatchPermissionsService/WatchPermissions", {
    "permissions": [{"resourceType": "document", "permission": "view", "subjectType": "user"}],
}, metadata={"stonetown-watch-from": "start"})
for answer in answers:  # without an end
    if "change" in answer:
        change = answer["change"]
        # change["subject"] has, or has no longer, change["permission"] on change["resource"]
    # [/watch-permissions]
    if "completedRevision" in answer:
        print("complete")
        break

# [download]
answer = next(call("WatchPermissionSetsService/DownloadPermissionSets", {}))
with urllib.request.urlopen(answer["files"][0]["url"]) as lines:
    print("downloaded", sum(1 for line in lines), "changes")
# [/download]

# [count]
answer = next(call("RelationshipsService/ExperimentalCountRelationshipsByFilter", {
    "relationshipFilter": {"resourceType": "document"}}))
print("relationships", answer["relationshipCount"])
# [/count]
