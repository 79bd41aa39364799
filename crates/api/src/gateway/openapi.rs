//! The OpenAPI document: every route, from the descriptors, with the comments of the protos as its texts.

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor, ServiceDescriptor};
use serde_json::{Map, Value, json};

use super::routes::Route;

const STATUS: &str = "google.rpc.Status";

/// The document, in version 3.1 of the format, whose schemas are JSON Schema.
pub(super) fn document(routes: &[Route], version: &str) -> Value {
    let mut schemas = Schemas::default();
    let mut paths: BTreeMap<&str, Value> =
        routes.iter().map(|route| (route.path.as_str(), json!({ "post": operation(route, &mut schemas) }))).collect();
    paths.insert("/healthz", health("healthz", "Whether the server answers calls."));
    paths.insert("/readyz", health("readyz", "Whether the server is ready for calls."));
    paths.insert(
        "/openapi.json",
        json!({ "get": {
            "operationId": "openapi", "summary": "This document.", "security": [],
            "responses": { "200": { "description": "The document.", "content": { "application/json": { "schema": { "type": "object" } } } } },
        } }),
    );
    let services: BTreeMap<String, ServiceDescriptor> = routes
        .iter()
        .map(|route| route.method.parent_service().clone())
        .map(|service| (service.name().to_owned(), service))
        .collect();
    let tags: Vec<Value> = services
        .into_iter()
        .map(|(name, service)| json!({ "name": name, "description": comment(&service.parent_file(), service.path()) }))
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Stonetown",
            "description": "Authorization questions, relationships and schemas over HTTP. Messages are those of the gRPC \
                            interface in the JSON form of Protocol Buffers.",
            "version": version,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "security": [{ "key": [] }],
        "tags": tags,
        "paths": paths,
        "components": {
            "securitySchemes": { "key": { "type": "http", "scheme": "bearer", "description": "A key that the server knows." } },
            "schemas": schemas.all(),
        },
    })
}

fn operation(route: &Route, schemas: &mut Schemas) -> Value {
    let method = &route.method;
    let service = method.parent_service();
    let text = comment(&service.parent_file(), method.path());
    let (input, output) = (schemas.of(&method.input()), schemas.of(&method.output()));
    let error = schemas.named(STATUS, service.parent_file().parent_pool().get_message_by_name(STATUS).as_ref());
    let answer = if method.is_server_streaming() {
        let line = json!({ "type": "object", "properties": { "result": output, "error": error } });
        json!({ "description": "A line for each message: its `result`, or the `error` that ends the stream.", "content": body(&line) })
    } else {
        json!({ "description": "The answer.", "content": body(&output) })
    };
    let request = if method.is_client_streaming() {
        "Any number of messages: one after the other, a line each, or as an array."
    } else {
        "The request; nothing stands for an empty one."
    };
    json!({
        "operationId": format!("{}_{}", service.name(), method.name()),
        "tags": [service.name()],
        "summary": text.split_inclusive('.').next().unwrap_or_default().trim(),
        "description": text,
        "requestBody": { "description": request, "content": body(&input) },
        "responses": {
            "200": answer,
            "default": { "description": "An error; in a stream as its `error`.", "content": body(&error) },
        },
    })
}

fn body(schema: &Value) -> Value {
    json!({ "application/json": { "schema": schema } })
}

fn health(id: &str, summary: &str) -> Value {
    let schema = json!({ "type": "object", "properties": { "status": { "type": "string" } } });
    json!({ "get": {
        "operationId": id,
        "summary": summary,
        "security": [],
        "responses": {
            "200": { "description": "It does.", "content": body(&schema) },
            "503": { "description": "It does not.", "content": body(&schema) },
        },
    } })
}

/// The schemas that the document needs, found from the messages of its calls.
#[derive(Default)]
struct Schemas {
    found: BTreeMap<String, Value>,
    begun: BTreeSet<String>,
}

impl Schemas {
    fn all(self) -> Map<String, Value> {
        self.found.into_iter().collect()
    }

    /// A reference to a message's schema, which is made at the first.
    fn of(&mut self, message: &MessageDescriptor) -> Value {
        if let Some(schema) = well_known(message.full_name()) {
            return schema;
        }
        self.named(message.full_name(), Some(message))
    }

    fn named(&mut self, name: &str, message: Option<&MessageDescriptor>) -> Value {
        // Noted before its fields are looked at: messages may hold themselves.
        if let Some(message) = message
            && self.begun.insert(name.to_owned())
        {
            let schema = self.message(message);
            self.found.insert(name.to_owned(), schema);
        }
        reference(name)
    }

    fn message(&mut self, message: &MessageDescriptor) -> Value {
        let mut text = comment(&message.parent_file(), message.path());
        for oneof in message.oneofs().filter(|oneof| !oneof.is_synthetic()) {
            let names: Vec<_> = oneof.fields().map(|field| format!("`{}`", field.json_name())).collect();
            text = format!("{text} At most one of {} is set.", names.join(", "));
        }
        let properties: Map<String, Value> =
            message.fields().map(|field| (field.json_name().to_owned(), self.field(&field))).collect();
        json!({ "type": "object", "description": text.trim(), "properties": properties })
    }

    fn field(&mut self, field: &FieldDescriptor) -> Value {
        let mut schema = if let Kind::Message(entry) = field.kind()
            && entry.is_map_entry()
        {
            json!({ "type": "object", "additionalProperties": self.kind(&entry.map_entry_value_field().kind()) })
        } else if field.is_list() {
            json!({ "type": "array", "items": self.kind(&field.kind()) })
        } else {
            self.kind(&field.kind())
        };
        let message = field.parent_message();
        let text = comment(&message.parent_file(), field.path());
        if let Value::Object(schema) = &mut schema {
            if !text.is_empty() {
                schema.insert("description".to_owned(), text.into());
            }
            if field.field_descriptor_proto().options.as_ref().is_some_and(prost_types::FieldOptions::deprecated) {
                schema.insert("deprecated".to_owned(), true.into());
            }
        }
        schema
    }

    fn kind(&mut self, kind: &Kind) -> Value {
        match kind {
            Kind::Double | Kind::Float => json!({ "type": "number" }),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => json!({ "type": "integer", "format": "int32" }),
            Kind::Uint32 | Kind::Fixed32 => json!({ "type": "integer", "format": "int64", "minimum": 0 }),
            // More digits than numbers of JavaScript have: written as text, read as either.
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => json!({ "type": "string", "format": "int64" }),
            Kind::Uint64 | Kind::Fixed64 => json!({ "type": "string", "format": "uint64" }),
            Kind::Bool => json!({ "type": "boolean" }),
            Kind::String => json!({ "type": "string" }),
            Kind::Bytes => json!({ "type": "string", "format": "byte" }),
            Kind::Message(message) => self.of(message),
            Kind::Enum(names) => self.names(names),
        }
    }

    fn names(&mut self, names: &EnumDescriptor) -> Value {
        if self.begun.insert(names.full_name().to_owned()) {
            let values: Vec<_> = names.values().map(|value| value.name().to_owned()).collect();
            let text = comment(&names.parent_file(), names.path());
            self.found
                .insert(names.full_name().to_owned(), json!({ "type": "string", "enum": values, "description": text }));
        }
        reference(names.full_name())
    }
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// The messages that have a form of their own in JSON.
fn well_known(name: &str) -> Option<Value> {
    Some(match name.strip_prefix("google.protobuf.")? {
        "Timestamp" => json!({ "type": "string", "format": "date-time" }),
        "Duration" => json!({ "type": "string", "pattern": "^-?[0-9]+(\\.[0-9]{1,9})?s$" }),
        "Struct" | "Empty" => json!({ "type": "object" }),
        "Any" => json!({ "type": "object", "properties": { "@type": { "type": "string" } }, "required": ["@type"] }),
        "ListValue" => json!({ "type": "array", "items": {} }),
        _ => json!({}),
    })
}

/// What the proto says above something, on one line.
fn comment(file: &FileDescriptor, path: &[i32]) -> String {
    let info = file.file_descriptor_proto().source_code_info.as_ref();
    let place = info.and_then(|info| info.location.iter().find(|place| place.path == path));
    let text = place.map(|place| place.leading_comments()).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
