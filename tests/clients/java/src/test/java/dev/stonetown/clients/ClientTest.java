package dev.stonetown.clients;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.authzed.api.v1.*;
import com.authzed.grpcutil.BearerToken;
import com.google.protobuf.Struct;
import com.google.protobuf.Value;
import com.google.rpc.ErrorInfo;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.StreamObserver;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Iterator;
import java.util.List;
import java.util.TreeSet;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Against the server in STONETOWN_ENDPOINT, and the one for test suites in STONETOWN_TESTING_ENDPOINT. */
class ClientTest {
  private static final Consistency FULL = Consistency.newBuilder().setFullyConsistent(true).build();
  private static final CheckPermissionResponse.Permissionship HAS =
      CheckPermissionResponse.Permissionship.PERMISSIONSHIP_HAS_PERMISSION;
  private static final CheckPermissionResponse.Permissionship HAS_NOT =
      CheckPermissionResponse.Permissionship.PERMISSIONSHIP_NO_PERMISSION;
  private static final CheckPermissionResponse.Permissionship CONDITIONAL =
      CheckPermissionResponse.Permissionship.PERMISSIONSHIP_CONDITIONAL_PERMISSION;
  private static final RelationshipUpdate.Operation TOUCH = RelationshipUpdate.Operation.OPERATION_TOUCH;
  private static final RelationshipUpdate.Operation CREATE = RelationshipUpdate.Operation.OPERATION_CREATE;
  private static final RelationshipUpdate.Operation DELETE = RelationshipUpdate.Operation.OPERATION_DELETE;

  private static Client client;

  /** The blocking services of one endpoint, as one caller. */
  record Client(ManagedChannel channel, BearerToken token) {
    static Client of(String endpoint, String token) {
      return new Client(ManagedChannelBuilder.forTarget(endpoint).usePlaintext().build(), new BearerToken(token));
    }

    PermissionsServiceGrpc.PermissionsServiceBlockingStub permissions() {
      return PermissionsServiceGrpc.newBlockingStub(channel).withCallCredentials(token);
    }

    SchemaServiceGrpc.SchemaServiceBlockingStub schema() {
      return SchemaServiceGrpc.newBlockingStub(channel).withCallCredentials(token);
    }

    void writeSchema(String text) {
      schema().writeSchema(WriteSchemaRequest.newBuilder().setSchema(text).build());
    }

    ZedToken write(RelationshipUpdate.Operation operation, String... relationships) {
      WriteRelationshipsRequest.Builder request = WriteRelationshipsRequest.newBuilder();
      for (String relationship : relationships) {
        request.addUpdates(
            RelationshipUpdate.newBuilder().setOperation(operation).setRelationship(relationship(relationship)));
      }
      return permissions().writeRelationships(request.build()).getWrittenAt();
    }

    CheckPermissionResponse check(String resource, String permission, String subject, Struct context) {
      return permissions()
          .checkPermission(
              CheckPermissionRequest.newBuilder()
                  .setConsistency(FULL)
                  .setResource(object(resource))
                  .setPermission(permission)
                  .setSubject(subject(subject))
                  .setContext(context)
                  .build());
    }

    CheckPermissionResponse.Permissionship check(String resource, String permission, String subject) {
      return check(resource, permission, subject, Struct.getDefaultInstance()).getPermissionship();
    }

    void close() {
      channel.shutdownNow();
    }
  }

  @BeforeAll
  static void connect() {
    client = Client.of(System.getenv("STONETOWN_ENDPOINT"), System.getenv("STONETOWN_TOKEN"));
  }

  @AfterAll
  static void disconnect() {
    client.close();
  }

  @BeforeEach
  void begin() throws Exception {
    client.writeSchema(schemaText());
    for (String kind : List.of("group", "folder", "document")) {
      client
          .permissions()
          .deleteRelationships(
              DeleteRelationshipsRequest.newBuilder()
                  .setRelationshipFilter(RelationshipFilter.newBuilder().setResourceType(kind))
                  .build());
    }
  }

  @Test
  void schemasAreReadAsTheyWereWritten() {
    String text = client.schema().readSchema(ReadSchemaRequest.getDefaultInstance()).getSchemaText();
    assertTrue(text.contains("definition document"), text);
    client.writeSchema(text);
    assertEquals(text, client.schema().readSchema(ReadSchemaRequest.getDefaultInstance()).getSchemaText());
    refused(Status.Code.INVALID_ARGUMENT, "SCHEMA_PARSE_ERROR", () -> client.writeSchema("definition {"));
  }

  @Test
  void checksFollowWrites() {
    client.write(CREATE, "document:plan#owner@user:anna", "group:staff#member@user:bob");
    client.write(TOUCH, "document:plan#editor@group:staff#member");
    assertEquals(HAS, client.check("document:plan", "view", "user:anna"));
    assertEquals(HAS, client.check("document:plan", "edit", "user:bob"));
    assertEquals(HAS_NOT, client.check("document:plan", "view", "user:carl"));
    client.write(DELETE, "group:staff#member@user:bob");
    assertEquals(HAS_NOT, client.check("document:plan", "edit", "user:bob"));
    refused(Status.Code.ALREADY_EXISTS, "ATTEMPT_TO_RECREATE_RELATIONSHIP", () -> client.write(CREATE, "document:plan#owner@user:anna"));
    refused(Status.Code.FAILED_PRECONDITION, "UNKNOWN_DEFINITION", () -> client.check("nothing:x", "view", "user:anna"));
  }

  @Test
  void caveatsAskForWhatIsMissing() {
    Relationship relationship =
        relationship("document:plan#editor@agent:bot").toBuilder()
            .setOptionalCaveat(
                ContextualizedCaveat.newBuilder().setCaveatName("within_budget").setContext(number("budget", 10)))
            .build();
    client
        .permissions()
        .writeRelationships(
            WriteRelationshipsRequest.newBuilder()
                .addUpdates(RelationshipUpdate.newBuilder().setOperation(TOUCH).setRelationship(relationship))
                .build());
    CheckPermissionResponse open = client.check("document:plan", "edit", "agent:bot", Struct.getDefaultInstance());
    assertEquals(CONDITIONAL, open.getPermissionship());
    assertEquals(List.of("spent"), List.copyOf(open.getPartialCaveatInfo().getMissingRequiredContextList()));
    assertEquals(HAS, client.check("document:plan", "edit", "agent:bot", number("spent", 7)).getPermissionship());
    assertEquals(HAS_NOT, client.check("document:plan", "edit", "agent:bot", number("spent", 11)).getPermissionship());
  }

  @Test
  void manyChecksAreAnsweredInOrder() {
    client.write(TOUCH, "document:plan#owner@user:anna");
    CheckBulkPermissionsRequest.Builder request = CheckBulkPermissionsRequest.newBuilder().setConsistency(FULL);
    for (String user : List.of("user:anna", "user:bob", "user:anna")) {
      request.addItems(
          CheckBulkPermissionsRequestItem.newBuilder()
              .setResource(object("document:plan"))
              .setPermission("view")
              .setSubject(subject(user)));
    }
    List<CheckPermissionResponse.Permissionship> answers =
        client.permissions().checkBulkPermissions(request.build()).getPairsList().stream()
            .map(pair -> pair.getItem().getPermissionship())
            .collect(Collectors.toList());
    assertEquals(List.of(HAS, HAS_NOT, HAS), answers);
  }

  @Test
  void lookupsFindResourcesAndSubjects() {
    client.write(TOUCH, "document:a#owner@user:anna", "document:b#owner@user:anna", "document:b#owner@user:bob");
    Iterator<LookupResourcesResponse> resources =
        client
            .permissions()
            .lookupResources(
                LookupResourcesRequest.newBuilder()
                    .setConsistency(FULL)
                    .setResourceObjectType("document")
                    .setPermission("view")
                    .setSubject(subject("user:anna"))
                    .build());
    TreeSet<String> found = new TreeSet<>();
    resources.forEachRemaining(row -> found.add(row.getResourceObjectId()));
    assertEquals(new TreeSet<>(List.of("a", "b")), found);
    Iterator<LookupSubjectsResponse> subjects =
        client
            .permissions()
            .lookupSubjects(
                LookupSubjectsRequest.newBuilder()
                    .setConsistency(FULL)
                    .setResource(object("document:b"))
                    .setPermission("view")
                    .setSubjectObjectType("user")
                    .build());
    TreeSet<String> who = new TreeSet<>();
    subjects.forEachRemaining(row -> who.add(row.getSubject().getSubjectObjectId()));
    assertEquals(new TreeSet<>(List.of("anna", "bob")), who);
  }

  @Test
  void readsComeInPagesAndExactSnapshotsStay() {
    ZedToken before = client.write(TOUCH, "document:a#owner@user:anna", "document:b#owner@user:anna", "document:c#owner@user:anna");
    client.write(DELETE, "document:b#owner@user:anna");
    assertEquals(List.of("a", "c"), read(FULL, 0, null));
    assertEquals(List.of("a", "b", "c"), read(Consistency.newBuilder().setAtExactSnapshot(before).build(), 0, null));
    assertEquals(List.of("a"), read(FULL, 1, null));
    assertEquals(List.of("a", "c"), read(Consistency.newBuilder().setAtLeastAsFresh(before).build(), 10, null));
  }

  @Test
  void preconditionsHoldOrNothingIsWritten() {
    Precondition exists =
        Precondition.newBuilder()
            .setOperation(Precondition.Operation.OPERATION_MUST_MATCH)
            .setFilter(RelationshipFilter.newBuilder().setResourceType("document").setOptionalResourceId("none"))
            .build();
    WriteRelationshipsRequest request =
        WriteRelationshipsRequest.newBuilder()
            .addUpdates(
                RelationshipUpdate.newBuilder().setOperation(TOUCH).setRelationship(relationship("document:a#owner@user:anna")))
            .addOptionalPreconditions(exists)
            .build();
    refused(
        Status.Code.FAILED_PRECONDITION,
        "WRITE_OR_DELETE_PRECONDITION_FAILURE",
        () -> client.permissions().writeRelationships(request));
    assertEquals(List.of(), read(FULL, 0, null));
  }

  @Test
  void whatIsImportedIsExported() throws Exception {
    CompletableFuture<Long> loaded = new CompletableFuture<>();
    StreamObserver<ImportBulkRelationshipsRequest> batches =
        PermissionsServiceGrpc.newStub(client.channel())
            .withCallCredentials(client.token())
            .importBulkRelationships(
                new StreamObserver<>() {
                  private long count;

                  @Override
                  public void onNext(ImportBulkRelationshipsResponse response) {
                    count = response.getNumLoaded();
                  }

                  @Override
                  public void onError(Throwable error) {
                    loaded.completeExceptionally(error);
                  }

                  @Override
                  public void onCompleted() {
                    loaded.complete(count);
                  }
                });
    for (int batch = 0; batch < 5; batch++) {
      ImportBulkRelationshipsRequest.Builder request = ImportBulkRelationshipsRequest.newBuilder();
      for (int n = 0; n < 100; n++) {
        request.addRelationships(relationship("document:d" + batch + "-" + n + "#owner@user:anna"));
      }
      batches.onNext(request.build());
    }
    batches.onCompleted();
    assertEquals(500L, loaded.get(30, TimeUnit.SECONDS));
    List<Relationship> exported = new ArrayList<>();
    client
        .permissions()
        .exportBulkRelationships(
            ExportBulkRelationshipsRequest.newBuilder().setConsistency(FULL).setOptionalLimit(120).build())
        .forEachRemaining(batch -> exported.addAll(batch.getRelationshipsList()));
    assertEquals(500, exported.size());
    assertEquals(500, exported.stream().distinct().count());
  }

  @Test
  void anUnknownKeyIsRefused() {
    Client stranger = Client.of(System.getenv("STONETOWN_ENDPOINT"), "not-a-key");
    try {
      refused(Status.Code.PERMISSION_DENIED, null, () -> stranger.schema().readSchema(ReadSchemaRequest.getDefaultInstance()));
    } finally {
      stranger.close();
    }
  }

  @Test
  void everyTokenOfATestServerHasAStoreOfItsOwn() throws Exception {
    String endpoint = System.getenv("STONETOWN_TESTING_ENDPOINT");
    Assumptions.assumeTrue(endpoint != null, "no server for test suites");
    Client one = Client.of(endpoint, "one-" + UUID.randomUUID());
    Client other = Client.of(endpoint, "other-" + UUID.randomUUID());
    try {
      refused(Status.Code.NOT_FOUND, null, () -> one.schema().readSchema(ReadSchemaRequest.getDefaultInstance()));
      one.writeSchema(schemaText());
      one.write(CREATE, "document:plan#owner@user:anna");
      assertEquals(HAS, one.check("document:plan", "view", "user:anna"));
      refused(Status.Code.NOT_FOUND, null, () -> other.schema().readSchema(ReadSchemaRequest.getDefaultInstance()));
      other.writeSchema(schemaText());
      assertEquals(HAS_NOT, other.check("document:plan", "view", "user:anna"));
    } finally {
      one.close();
      other.close();
    }
  }

  private static List<String> read(Consistency consistency, int limit, Cursor cursor) {
    ReadRelationshipsRequest.Builder request =
        ReadRelationshipsRequest.newBuilder()
            .setConsistency(consistency)
            .setOptionalLimit(limit)
            .setRelationshipFilter(RelationshipFilter.newBuilder().setResourceType("document"));
    if (cursor != null) {
      request.setOptionalCursor(cursor);
    }
    List<String> found = new ArrayList<>();
    client
        .permissions()
        .readRelationships(request.build())
        .forEachRemaining(row -> found.add(row.getRelationship().getResource().getObjectId()));
    return found;
  }

  private static void refused(Status.Code code, String reason, org.junit.jupiter.api.function.Executable call) {
    StatusRuntimeException error = assertThrows(StatusRuntimeException.class, call);
    assertEquals(code, error.getStatus().getCode(), error.getMessage());
    if (reason != null) {
      com.google.rpc.Status status = StatusProto.fromThrowable(error);
      assertFalse(status == null || status.getDetailsList().isEmpty(), "no details");
      ErrorInfo info = assertInfo(status);
      assertEquals("ERROR_REASON_" + reason, info.getReason());
      assertEquals("authzed.com", info.getDomain());
    }
  }

  private static ErrorInfo assertInfo(com.google.rpc.Status status) {
    try {
      return status.getDetails(0).unpack(ErrorInfo.class);
    } catch (com.google.protobuf.InvalidProtocolBufferException error) {
      throw new AssertionError(error);
    }
  }

  private static String schemaText() throws Exception {
    return Files.readString(Path.of("..", "schema.zed"));
  }

  private static Struct number(String name, double value) {
    return Struct.newBuilder().putFields(name, Value.newBuilder().setNumberValue(value).build()).build();
  }

  /** {@code document:d#owner@user:u}. */
  private static Relationship relationship(String text) {
    String[] sides = text.split("@");
    String[] left = sides[0].split("#");
    return Relationship.newBuilder().setResource(object(left[0])).setRelation(left[1]).setSubject(subject(sides[1])).build();
  }

  private static ObjectReference object(String text) {
    String[] parts = text.split(":");
    return ObjectReference.newBuilder().setObjectType(parts[0]).setObjectId(parts[1]).build();
  }

  private static SubjectReference subject(String text) {
    List<String> parts = Arrays.asList(text.split("#"));
    SubjectReference.Builder subject = SubjectReference.newBuilder().setObject(object(parts.get(0)));
    return (parts.size() > 1 ? subject.setOptionalRelation(parts.get(1)) : subject).build();
  }
}
