// PermissionsService, call by call.
import { v1 } from "@authzed/authzed-node";

import { client, fullyConsistent, object, relationship, subject, text } from "./connect.mjs";

const Permissionship = v1.CheckPermissionResponse_Permissionship;
const { LookupPermissionship } = v1;

{
  // [check]
  const answer = await client.checkPermission(v1.CheckPermissionRequest.create({
    consistency: fullyConsistent, resource: object("document:plan"), permission: "view", subject: subject("user:ann"),
  }));
  console.log("ann:", Permissionship[answer.permissionship]);
  // [/check]
}
{
  // [check-context]
  const answer = await client.checkPermission(v1.CheckPermissionRequest.create({
    consistency: fullyConsistent, resource: object("document:plan"), permission: "view", subject: subject("user:carl"),
    context: v1.createStructFromObject({ hour: 12 }),
  }));
  console.log("carl at 12:", Permissionship[answer.permissionship]);
  // [/check-context]
}
{
  // [check-bulk]
  const answer = await client.checkBulkPermissions(v1.CheckBulkPermissionsRequest.create({
    consistency: fullyConsistent,
    items: ["user:ann", "user:bert", "user:carl"].map((who) => (
      { resource: object("document:plan"), permission: "view", subject: subject(who) })),
  }));
  for (const { request, response } of answer.pairs) { // in the order of the items
    if (response.oneofKind === "item") {
      const missing = response.item.partialCaveatInfo?.missingRequiredContext ?? [];
      console.log(request.subject.object.objectId, Permissionship[response.item.permissionship], ...missing);
    }
  }
  // [/check-bulk]
}
// [write]
const { writtenAt } = await client.writeRelationships(v1.WriteRelationshipsRequest.create({
  updates: [{
    operation: v1.RelationshipUpdate_Operation.TOUCH,
    relationship: relationship("document:plan#viewer@user:bert"),
  }],
  optionalPreconditions: [{
    operation: v1.Precondition_Operation.MUST_MATCH,
    filter: v1.RelationshipFilter.create({
      resourceType: "document", optionalResourceId: "plan", optionalRelation: "owner",
    }),
  }],
})); // store the token beside the document
// [/write]
{
  // [read]
  const answers = await client.readRelationships(v1.ReadRelationshipsRequest.create({
    consistency: { requirement: { oneofKind: "atLeastAsFresh", atLeastAsFresh: writtenAt } },
    relationshipFilter: v1.RelationshipFilter.create({
      resourceType: "document", optionalResourceId: "plan", optionalRelation: "viewer",
    }),
    optionalLimit: 100, // the next page: optionalCursor: answers.at(-1).afterResultCursor
  }));
  for (const answer of answers) console.log("read", text(answer.relationship));
  // [/read]
}
{
  // [expand]
  const { treeRoot } = await client.expandPermissionTree(v1.ExpandPermissionTreeRequest.create({
    consistency: fullyConsistent, resource: object("document:plan"), permission: "view",
  }));
  const { operation, children } = treeRoot.treeType.intermediate;
  console.log("expanded", treeRoot.expandedRelation, v1.AlgebraicSubjectSet_Operation[operation],
    children.map((child) => child.expandedRelation).join(" "));
  // [/expand]
}
{
  // [lookup-resources]
  const answers = await client.lookupResources(v1.LookupResourcesRequest.create({
    consistency: fullyConsistent, resourceObjectType: "document", permission: "view", subject: subject("user:ann"),
    optionalLimit: 100,
  }));
  for (const answer of answers) {
    console.log("ann views", answer.resourceObjectId, LookupPermissionship[answer.permissionship]);
  }
  // [/lookup-resources]
}
{
  // [lookup-subjects]
  const answers = await client.lookupSubjects(v1.LookupSubjectsRequest.create({
    consistency: fullyConsistent, resource: object("document:plan"), permission: "view", subjectObjectType: "user",
  }));
  for (const { subject } of answers) {
    console.log("plan is viewed by", subject.subjectObjectId, LookupPermissionship[subject.permissionship]);
  }
  // [/lookup-subjects]
}
{
  // [delete]
  const answer = await client.deleteRelationships(v1.DeleteRelationshipsRequest.create({
    relationshipFilter: v1.RelationshipFilter.create({
      resourceType: "document", optionalResourceId: "plan",
      optionalSubjectFilter: { subjectType: "user", optionalSubjectId: "bert" },
    }),
  }));
  console.log("deletion:", v1.DeleteRelationshipsResponse_DeletionProgress[answer.deletionProgress]);
  // [/delete]
}
{
  // [import]
  const answer = await new Promise((resolve, reject) => { // all in one transaction
    const stream = client.importBulkRelationships((error, answer) => (error ? reject(error) : resolve(answer)));
    for (let batch = 0; batch < 3; batch++) {
      const relationships = Array.from({ length: 100 }, (_, n) => relationship(`group:ops#member@user:${batch}-${n}`));
      stream.write(v1.ImportBulkRelationshipsRequest.create({ relationships }));
    }
    stream.end();
  });
  console.log("imported", answer.numLoaded);
  // [/import]
}
{
  // [export]
  const answers = await client.exportBulkRelationships(v1.ExportBulkRelationshipsRequest.create({
    consistency: fullyConsistent,
    optionalRelationshipFilter: v1.RelationshipFilter.create({ resourceType: "group", optionalResourceId: "ops" }),
  }));
  console.log("exported", answers.reduce((sum, answer) => sum + answer.relationships.length, 0));
  // [/export]
}
