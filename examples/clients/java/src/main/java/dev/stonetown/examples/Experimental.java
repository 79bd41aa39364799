package dev.stonetown.examples;

import static dev.stonetown.examples.Connect.*;

import com.authzed.api.v1.*;
import io.grpc.stub.StreamObserver;
import java.util.concurrent.CompletableFuture;
import java.util.stream.Collectors;

/** ExperimentalService, call by call. */
final class Experimental {
  public static void main(String[] args) throws Exception {
    // [connect]
    var experimental = ExperimentalServiceGrpc.newBlockingStub(CHANNEL).withCallCredentials(KEY);
    // [/connect]

    // [register]
    experimental.experimentalRegisterRelationshipCounter(ExperimentalRegisterRelationshipCounterRequest.newBuilder()
        .setName("viewers")
        .setRelationshipFilter(RelationshipFilter.newBuilder().setResourceType("document").setOptionalRelation("viewer"))
        .build());
    // [/register]

    // [count]
    var count = ExperimentalCountRelationshipsRequest.newBuilder().setName("viewers").build();
    var counted = experimental.experimentalCountRelationships(count);
    while (counted.getCounterStillCalculating()) { // a moment after it was registered
      Thread.sleep(100);
      counted = experimental.experimentalCountRelationships(count);
    }
    System.out.println("viewers: " + counted.getReadCounterValue().getRelationshipCount());
    // [/count]

    // [unregister]
    experimental.experimentalUnregisterRelationshipCounter(
        ExperimentalUnregisterRelationshipCounterRequest.newBuilder().setName("viewers").build());
    // [/unregister]

    // [bulk-check]
    var checked = experimental.bulkCheckPermission(BulkCheckPermissionRequest.newBuilder()
        .setConsistency(FULLY_CONSISTENT)
        .addItems(BulkCheckPermissionRequestItem.newBuilder()
            .setResource(object("document:plan")).setPermission("view").setSubject(subject("user:ann")))
        .build());
    System.out.println("ann: " + checked.getPairs(0).getItem().getPermissionship());
    // [/bulk-check]

    // [bulk-import]
    var loaded = new CompletableFuture<Long>();
    var batches = ExperimentalServiceGrpc.newStub(CHANNEL).withCallCredentials(KEY)
        .bulkImportRelationships(new StreamObserver<BulkImportRelationshipsResponse>() {
          @Override public void onNext(BulkImportRelationshipsResponse answer) { loaded.complete(answer.getNumLoaded()); }
          @Override public void onError(Throwable error) { loaded.completeExceptionally(error); }
          @Override public void onCompleted() {}
        });
    batches.onNext(BulkImportRelationshipsRequest.newBuilder()
        .addRelationships(relationship("group:ops#member@user:bert")).build());
    batches.onCompleted();
    System.out.println("imported " + loaded.get());
    // [/bulk-import]

    // [bulk-export]
    var answers = experimental.bulkExportRelationships(BulkExportRelationshipsRequest.newBuilder()
        .setConsistency(FULLY_CONSISTENT)
        .setOptionalRelationshipFilter(RelationshipFilter.newBuilder().setResourceType("group"))
        .build());
    int exported = 0;
    while (answers.hasNext()) exported += answers.next().getRelationshipsCount();
    System.out.println("exported " + exported);
    // [/bulk-export]

    // [reflect]
    var reflected = experimental.experimentalReflectSchema(
        ExperimentalReflectSchemaRequest.newBuilder().setConsistency(FULLY_CONSISTENT).build());
    System.out.println("definitions " + reflected.getDefinitionsList().stream()
        .map(ExpDefinition::getName).sorted().collect(Collectors.joining(" ")));
    // [/reflect]

    // [computable]
    var computable = experimental.experimentalComputablePermissions(
        ExperimentalComputablePermissionsRequest.newBuilder()
            .setConsistency(FULLY_CONSISTENT).setDefinitionName("document").setRelationName("owner").build());
    System.out.println("owner decides " + Schema.names(computable.getPermissionsList()));
    // [/computable]

    // [dependent]
    var dependent = experimental.experimentalDependentRelations(
        ExperimentalDependentRelationsRequest.newBuilder()
            .setConsistency(FULLY_CONSISTENT).setDefinitionName("document").setPermissionName("edit").build());
    System.out.println("edit depends on " + Schema.names(dependent.getRelationsList()));
    // [/dependent]

    // [diff]
    var diff = experimental.experimentalDiffSchema(ExperimentalDiffSchemaRequest.newBuilder()
        .setConsistency(FULLY_CONSISTENT).setComparisonSchema("definition user {}").build());
    System.out.println("differences " + diff.getDiffsCount());
    // [/diff]
    CHANNEL.shutdownNow();
  }
}
