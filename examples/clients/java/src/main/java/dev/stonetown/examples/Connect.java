package dev.stonetown.examples;

import com.authzed.api.v1.*;
import com.authzed.grpcutil.BearerToken;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;

/** What the other examples share. */
final class Connect {
  // [connect]
  static final ManagedChannel CHANNEL =
      ManagedChannelBuilder.forTarget(System.getenv("STONETOWN_ENDPOINT")).usePlaintext().build(); // or useTransportSecurity()
  static final BearerToken KEY = new BearerToken(System.getenv("STONETOWN_TOKEN"));

  static SchemaServiceGrpc.SchemaServiceBlockingStub schema() {
    return SchemaServiceGrpc.newBlockingStub(CHANNEL).withCallCredentials(KEY);
  }

  static PermissionsServiceGrpc.PermissionsServiceBlockingStub permissions() {
    return PermissionsServiceGrpc.newBlockingStub(CHANNEL).withCallCredentials(KEY);
  }

  static ObjectReference object(String text) { // document:plan
    String[] parts = text.split(":");
    return ObjectReference.newBuilder().setObjectType(parts[0]).setObjectId(parts[1]).build();
  }

  static SubjectReference subject(String text) { // user:ann, group:eng#member
    String[] parts = text.split("#");
    return SubjectReference.newBuilder()
        .setObject(object(parts[0]))
        .setOptionalRelation(parts.length > 1 ? parts[1] : "")
        .build();
  }

  static Relationship relationship(String text) { // document:plan#viewer@user:ann
    String[] sides = text.split("@");
    String[] left = sides[0].split("#");
    return Relationship.newBuilder()
        .setResource(object(left[0]))
        .setRelation(left[1])
        .setSubject(subject(sides[1]))
        .build();
  }

  static final Consistency FULLY_CONSISTENT = Consistency.newBuilder().setFullyConsistent(true).build();

  static String text(Relationship r) {
    String suffix = r.getSubject().getOptionalRelation().isEmpty() ? "" : "#" + r.getSubject().getOptionalRelation();
    ObjectReference who = r.getSubject().getObject();
    return r.getResource().getObjectType() + ":" + r.getResource().getObjectId() + "#" + r.getRelation()
        + "@" + who.getObjectType() + ":" + who.getObjectId() + suffix;
  }
  // [/connect]

  private Connect() {}
}
