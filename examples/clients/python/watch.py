"""WatchService."""
from authzed.api import v1

from connect import client, relationship, text

TOUCH = v1.RelationshipUpdate.OPERATION_TOUCH
DELETE = v1.RelationshipUpdate.OPERATION_DELETE


def write(operation, what):
    update = v1.RelationshipUpdate(operation=operation, relationship=relationship(what))
    return client.WriteRelationships(v1.WriteRelationshipsRequest(updates=[update])).written_at


token = write(TOUCH, "document:memo#viewer@user:bert")
write(TOUCH, "document:memo#viewer@user:dora")
write(DELETE, "document:memo#viewer@user:bert")

# [watch]
answers = client.Watch(v1.WatchRequest(optional_start_cursor=token, optional_object_types=["document"]))
for answer in answers:  # without an end
    for update in answer.updates:
        print(v1.RelationshipUpdate.Operation.Name(update.operation), text(update.relationship))
    token = answer.changes_through  # store it: here a later watch goes on
    # [/watch]
    if answer.updates and answer.updates[0].operation == DELETE:
        break

# [start]
answers = client.Watch(v1.WatchRequest(), metadata=[("stonetown-watch-from", "start")])
# [/start]
print("from the start:", sorted(text(update.relationship) for update in next(answers).updates)[0])
