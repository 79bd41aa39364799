package dev.stonetown.examples;

import static dev.stonetown.examples.Connect.*;

import com.authzed.api.materialize.v0.*;
import com.authzed.api.v1.ZedToken;
import io.grpc.Metadata;
import io.grpc.stub.MetadataUtils;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.ArrayList;
import java.util.List;

/** The services of authzed.api.materialize.v0. */
final class Materialize {
  // Version 1.2.0 of the package has not all calls: those over HTTP/JSON.
  // [connect-http]
  static final HttpClient HTTP = HttpClient.newHttpClient();

  static String call(String method, String body) throws Exception {
    var request = HttpRequest.newBuilder(
            URI.create("http://" + System.getenv("STONETOWN_ENDPOINT") + "/authzed.api.materialize.v0." + method))
        .header("Authorization", "Bearer " + System.getenv("STONETOWN_TOKEN"))
        .POST(HttpRequest.BodyPublishers.ofString(body))
        .build();
    return HTTP.send(request, BodyHandlers.ofString()).body();
  }
  // [/connect-http]

  public static void main(String[] args) throws Exception {
    // [connect]
    var sets = WatchPermissionSetsServiceGrpc.newBlockingStub(CHANNEL).withCallCredentials(KEY);
    var permissions = WatchPermissionsServiceGrpc.newBlockingStub(CHANNEL).withCallCredentials(KEY);
    // [/connect]

    // [lookup]
    List<String> lines = new ArrayList<>();
    ZedToken token = null;
    var answers = sets.lookupPermissionSets(LookupPermissionSetsRequest.newBuilder().setLimit(100).build());
    while (answers.hasNext()) {
      PermissionSetChange change = answers.next().getChange(); // the next page: setOptionalStartingAfterCursor
      lines.add(describe(change));
      token = change.getAtRevision();
    }
    // [/lookup]
    lines.stream().sorted().forEach(System.out::println);

    // [watch]
    Metadata metadata = new Metadata(); // or setOptionalStartingAfter(token)
    metadata.put(Metadata.Key.of("stonetown-watch-from", Metadata.ASCII_STRING_MARSHALLER), "start");
    var fromStart = MetadataUtils.newAttachHeadersInterceptor(metadata);
    var changes = sets.withInterceptors(fromStart).watchPermissionSets(WatchPermissionSetsRequest.getDefaultInstance());
    for (boolean complete = false; !complete; ) { // a program would go on
      WatchPermissionSetsResponse answer = changes.next();
      if (answer.hasChange()) {
        // apply answer.getChange(): added or removed
      } else if (answer.hasCompletedRevision()) {
        token = answer.getCompletedRevision(); // store it with what was applied
        complete = true;
      }
    }
    // [/watch]
    System.out.println("complete");

    // [watch-permissions]
    var watched = permissions.withInterceptors(fromStart).watchPermissions(WatchPermissionsRequest.newBuilder()
        .addPermissions(WatchedPermission.newBuilder()
            .setResourceType("document").setPermission("view").setSubjectType("user"))
        .build());
    for (boolean complete = false; !complete; ) { // a program would go on
      WatchPermissionsResponse answer = watched.next();
      if (answer.hasChange()) {
        PermissionChange change = answer.getChange();
        // change.getSubject() has, or has no longer, change.getPermission() on change.getResource()
      }
      complete = answer.hasCompletedRevision();
    }
    // [/watch-permissions]
    System.out.println("complete");

    // [download]
    String download = call("WatchPermissionSetsService/DownloadPermissionSets", "{}");
    String url = download.replaceAll("(?s).*\"url\":\"([^\"]*)\".*", "$1"); // a program would parse the JSON
    var file = HTTP.send(HttpRequest.newBuilder(URI.create(url)).build(), BodyHandlers.ofLines());
    System.out.println("downloaded " + file.body().count() + " changes");
    // [/download]

    // [count]
    String count = call(
        "RelationshipsService/ExperimentalCountRelationshipsByFilter",
        "{\"relationshipFilter\": {\"resourceType\": \"document\"}}");
    System.out.println("relationships " + count.replaceAll("(?s).*\"relationshipCount\":\"([0-9]*)\".*", "$1"));
    // [/count]
    CHANNEL.shutdownNow();
  }

  static String describe(PermissionSetChange change) {
    SetReference parent = change.getParentSet();
    String line = change.getOperation() + " " + parent.getObjectType() + ":" + parent.getObjectId() + "#"
        + parent.getPermissionOrRelation() + " has ";
    if (change.hasChildSet()) {
      SetReference set = change.getChildSet();
      return line + set.getObjectType() + ":" + set.getObjectId() + "#" + set.getPermissionOrRelation();
    }
    MemberReference member = change.getChildMember();
    return line + member.getObjectType() + ":" + member.getObjectId();
  }
}
