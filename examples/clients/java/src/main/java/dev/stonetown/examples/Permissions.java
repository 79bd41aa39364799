package dev.stonetown.examples;

import static dev.stonetown.examples.Connect.*;

import com.authzed.api.v1.*;
import com.google.protobuf.Struct;
import com.google.protobuf.Value;
import io.grpc.stub.StreamObserver;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.stream.Collectors;

/** PermissionsService, call by call. */
final class Permissions {
  public static void main(String[] args) throws Exception {
    {
      // [check]
      CheckPermissionResponse answer = permissions().checkPermission(CheckPermissionRequest.newBuilder()
          .setConsistency(FULLY_CONSISTENT)
          .setResource(object("document:plan"))
          .setPermission("view")
          .setSubject(subject("user:ann"))
          .build());
      System.out.println("ann: " + answer.getPermissionship());
      // [/check]
    }
    {
      // [check-context]
      Struct context = Struct.newBuilder().putFields("hour", Value.newBuilder().setNumberValue(12).build()).build();
      CheckPermissionResponse answer = permissions().checkPermission(CheckPermissionRequest.newBuilder()
          .setConsistency(FULLY_CONSISTENT)
          .setResource(object("document:plan"))
          .setPermission("view")
          .setSubject(subject("user:carl"))
          .setContext(context)
          .build());
      System.out.println("carl at 12: " + answer.getPermissionship());
      // [/check-context]
    }
    {
      // [check-bulk]
      var request = CheckBulkPermissionsRequest.newBuilder().setConsistency(FULLY_CONSISTENT);
      for (String who : List.of("user:ann", "user:bert", "user:carl")) {
        request.addItems(CheckBulkPermissionsRequestItem.newBuilder()
            .setResource(object("document:plan")).setPermission("view").setSubject(subject(who)));
      }
      for (var pair : permissions().checkBulkPermissions(request.build()).getPairsList()) { // in the order of the items
        var missing = pair.getItem().getPartialCaveatInfo().getMissingRequiredContextList();
        System.out.println(pair.getRequest().getSubject().getObject().getObjectId() + " "
            + pair.getItem().getPermissionship() + " " + String.join(" ", missing));
      }
      // [/check-bulk]
    }
    // [write]
    ZedToken token = permissions().writeRelationships(WriteRelationshipsRequest.newBuilder()
        .addUpdates(RelationshipUpdate.newBuilder()
            .setOperation(RelationshipUpdate.Operation.OPERATION_TOUCH)
            .setRelationship(relationship("document:plan#viewer@user:bert")))
        .addOptionalPreconditions(Precondition.newBuilder()
            .setOperation(Precondition.Operation.OPERATION_MUST_MATCH)
            .setFilter(RelationshipFilter.newBuilder()
                .setResourceType("document").setOptionalResourceId("plan").setOptionalRelation("owner")))
        .build()).getWrittenAt(); // store it beside the document
    // [/write]
    {
      // [read]
      var answers = permissions().readRelationships(ReadRelationshipsRequest.newBuilder()
          .setConsistency(Consistency.newBuilder().setAtLeastAsFresh(token))
          .setRelationshipFilter(RelationshipFilter.newBuilder()
              .setResourceType("document").setOptionalResourceId("plan").setOptionalRelation("viewer"))
          .setOptionalLimit(100) // the next page: setOptionalCursor(answer.getAfterResultCursor())
          .build());
      answers.forEachRemaining(answer -> System.out.println("read " + text(answer.getRelationship())));
      // [/read]
    }
    {
      // [expand]
      PermissionRelationshipTree root = permissions().expandPermissionTree(ExpandPermissionTreeRequest.newBuilder()
          .setConsistency(FULLY_CONSISTENT).setResource(object("document:plan")).setPermission("view")
          .build()).getTreeRoot();
      String children = root.getIntermediate().getChildrenList().stream()
          .map(PermissionRelationshipTree::getExpandedRelation).collect(Collectors.joining(" "));
      System.out.println("expanded " + root.getExpandedRelation() + " " + root.getIntermediate().getOperation() + " " + children);
      // [/expand]
    }
    {
      // [lookup-resources]
      var answers = permissions().lookupResources(LookupResourcesRequest.newBuilder()
          .setConsistency(FULLY_CONSISTENT)
          .setResourceObjectType("document")
          .setPermission("view")
          .setSubject(subject("user:ann"))
          .setOptionalLimit(100)
          .build());
      answers.forEachRemaining(answer ->
          System.out.println("ann views " + answer.getResourceObjectId() + " " + answer.getPermissionship()));
      // [/lookup-resources]
    }
    {
      // [lookup-subjects]
      var answers = permissions().lookupSubjects(LookupSubjectsRequest.newBuilder()
          .setConsistency(FULLY_CONSISTENT)
          .setResource(object("document:plan"))
          .setPermission("view")
          .setSubjectObjectType("user")
          .build());
      answers.forEachRemaining(answer -> System.out.println("plan is viewed by "
          + answer.getSubject().getSubjectObjectId() + " " + answer.getSubject().getPermissionship()));
      // [/lookup-subjects]
    }
    {
      // [delete]
      DeleteRelationshipsResponse answer = permissions().deleteRelationships(DeleteRelationshipsRequest.newBuilder()
          .setRelationshipFilter(RelationshipFilter.newBuilder()
              .setResourceType("document").setOptionalResourceId("plan")
              .setOptionalSubjectFilter(SubjectFilter.newBuilder().setSubjectType("user").setOptionalSubjectId("bert")))
          .build());
      System.out.println("deletion: " + answer.getDeletionProgress());
      // [/delete]
    }
    {
      // [import]
      var loaded = new CompletableFuture<Long>();
      var batches = PermissionsServiceGrpc.newStub(CHANNEL).withCallCredentials(KEY)
          .importBulkRelationships(new StreamObserver<ImportBulkRelationshipsResponse>() {
            @Override public void onNext(ImportBulkRelationshipsResponse answer) { loaded.complete(answer.getNumLoaded()); }
            @Override public void onError(Throwable error) { loaded.completeExceptionally(error); }
            @Override public void onCompleted() {}
          });
      for (int batch = 0; batch < 3; batch++) { // all in one transaction
        var request = ImportBulkRelationshipsRequest.newBuilder();
        for (int n = 0; n < 100; n++) {
          request.addRelationships(relationship("group:ops#member@user:" + batch + "-" + n));
        }
        batches.onNext(request.build());
      }
      batches.onCompleted();
      System.out.println("imported " + loaded.get());
      // [/import]
    }
    {
      // [export]
      var answers = permissions().exportBulkRelationships(ExportBulkRelationshipsRequest.newBuilder()
          .setConsistency(FULLY_CONSISTENT)
          .setOptionalRelationshipFilter(
              RelationshipFilter.newBuilder().setResourceType("group").setOptionalResourceId("ops"))
          .build());
      int exported = 0;
      while (answers.hasNext()) exported += answers.next().getRelationshipsCount();
      System.out.println("exported " + exported);
      // [/export]
    }
    CHANNEL.shutdownNow();
  }
}
