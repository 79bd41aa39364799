package dev.stonetown.examples;

import static dev.stonetown.examples.Connect.*;

import com.authzed.api.v1.*;
import java.util.List;
import java.util.stream.Collectors;

/** SchemaService, call by call. Version 1.2.0 of the package has four of the calls by their experimental names only. */
final class Schema {
  public static void main(String[] args) {
    // [read]
    String text = schema().readSchema(ReadSchemaRequest.getDefaultInstance()).getSchemaText();
    System.out.println("read " + text.lines().count() + " lines");
    // [/read]

    // [connect]
    var experimental = ExperimentalServiceGrpc.newBlockingStub(CHANNEL).withCallCredentials(KEY);
    // [/connect]

    // [diff]
    String planned = text
        .replace("viewer + edit", "viewer + edit + guest")
        .replace("relation owner: user", "relation owner: user\n\trelation guest: user");
    var diff = experimental.experimentalDiffSchema(ExperimentalDiffSchemaRequest.newBuilder()
        .setConsistency(FULLY_CONSISTENT).setComparisonSchema(planned).build());
    diff.getDiffsList().forEach(change -> System.out.println("differs: " + change.getDiffCase().name().toLowerCase()));
    // [/diff]

    // [write]
    ZedToken token = schema().writeSchema(WriteSchemaRequest.newBuilder().setSchema(planned).build()).getWrittenAt();
    // [/write]

    // [reflect]
    var reflected = experimental.experimentalReflectSchema(ExperimentalReflectSchemaRequest.newBuilder()
        .setConsistency(Consistency.newBuilder().setAtLeastAsFresh(token))
        .addOptionalFilters(ExpSchemaFilter.newBuilder().setOptionalDefinitionNameFilter("document"))
        .build());
    for (ExpDefinition definition : reflected.getDefinitionsList()) {
      System.out.println(definition.getName() + " has relations " + definition.getRelationsList().stream()
          .map(ExpRelation::getName).collect(Collectors.joining(" ")));
      System.out.println(definition.getName() + " has permissions " + definition.getPermissionsList().stream()
          .map(ExpPermission::getName).collect(Collectors.joining(" ")));
    }
    // [/reflect]

    // [computable]
    var computable = experimental.experimentalComputablePermissions(
        ExperimentalComputablePermissionsRequest.newBuilder()
            .setConsistency(FULLY_CONSISTENT).setDefinitionName("document").setRelationName("owner").build());
    System.out.println("owner decides " + names(computable.getPermissionsList()));
    // [/computable]

    // [dependent]
    var dependent = experimental.experimentalDependentRelations(
        ExperimentalDependentRelationsRequest.newBuilder()
            .setConsistency(FULLY_CONSISTENT).setDefinitionName("document").setPermissionName("edit").build());
    System.out.println("edit depends on " + names(dependent.getRelationsList()));
    // [/dependent]
    CHANNEL.shutdownNow();
  }

  static String names(List<ExpRelationReference> references) {
    return references.stream().map(ExpRelationReference::getRelationName).collect(Collectors.joining(" "));
  }
}
