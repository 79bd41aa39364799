package dev.stonetown.examples;

import static dev.stonetown.examples.Connect.*;

import com.authzed.api.v1.*;
import io.grpc.Metadata;
import io.grpc.stub.MetadataUtils;
import java.util.Iterator;

/** WatchService. */
final class Watch {
  static ZedToken write(RelationshipUpdate.Operation operation, String what) {
    var update = RelationshipUpdate.newBuilder().setOperation(operation).setRelationship(relationship(what));
    return permissions().writeRelationships(WriteRelationshipsRequest.newBuilder().addUpdates(update).build()).getWrittenAt();
  }

  public static void main(String[] args) {
    ZedToken token = write(RelationshipUpdate.Operation.OPERATION_TOUCH, "document:memo#viewer@user:bert");
    write(RelationshipUpdate.Operation.OPERATION_TOUCH, "document:memo#viewer@user:dora");
    write(RelationshipUpdate.Operation.OPERATION_DELETE, "document:memo#viewer@user:bert");

    // [watch]
    Iterator<WatchResponse> answers = WatchServiceGrpc.newBlockingStub(CHANNEL).withCallCredentials(KEY)
        .watch(WatchRequest.newBuilder().setOptionalStartCursor(token).addOptionalObjectTypes("document").build());
    while (answers.hasNext()) { // without an end
      WatchResponse answer = answers.next();
      for (RelationshipUpdate update : answer.getUpdatesList()) {
        System.out.println(update.getOperation() + " " + text(update.getRelationship()));
      }
      token = answer.getChangesThrough(); // store it: here a later watch goes on
      // [/watch]
      if (answer.getUpdatesList().stream()
          .anyMatch(update -> update.getOperation() == RelationshipUpdate.Operation.OPERATION_DELETE)) {
        break;
      }
      // [watch]
    }
    // [/watch]

    // [start]
    Metadata metadata = new Metadata();
    metadata.put(Metadata.Key.of("stonetown-watch-from", Metadata.ASCII_STRING_MARSHALLER), "start");
    answers = WatchServiceGrpc.newBlockingStub(CHANNEL).withCallCredentials(KEY)
        .withInterceptors(MetadataUtils.newAttachHeadersInterceptor(metadata))
        .watch(WatchRequest.getDefaultInstance());
    // [/start]
    System.out.println("from the start: " + answers.next().getUpdatesList().stream()
        .map(update -> text(update.getRelationship())).sorted().findFirst().orElseThrow());
    CHANNEL.shutdownNow();
  }
}
