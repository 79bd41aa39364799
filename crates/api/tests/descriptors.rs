//! The compiled protos say what the public client package says: names, numbers, types, oneofs and streaming. Options are left
//! out. `scripts/extract-descriptors.py` writes the table that is compared with.

#![allow(clippy::unwrap_used)]

use std::fmt::Write;

use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet,
    MethodDescriptorProto, ServiceDescriptorProto,
};

const TABLE: &str = include_str!("../../../proto/authzed.descriptors.txt");

#[test]
fn the_protos_are_those_of_the_public_client_package() {
    let compiled = FileDescriptorSet::decode(stonetown_api::proto::DESCRIPTORS).unwrap();
    let ours = |file: &&FileDescriptorProto| file.package().starts_with("authzed.api.");
    let mut files: Vec<_> = compiled.file.iter().filter(ours).map(describe).collect();
    files.sort();
    let table: Vec<_> = TABLE.trim_end().split("\n\n").skip(1).map(ToOwned::to_owned).collect();
    assert_eq!(files.len(), 10);
    for (ours, theirs) in files.iter().zip(&table) {
        // The first line that differs says more than two whole files.
        for (ours, theirs) in ours.lines().zip(theirs.lines()) {
            assert_eq!(ours, theirs);
        }
    }
    assert_eq!(files, table);
}

fn describe(file: &FileDescriptorProto) -> String {
    let scope = file.package();
    let mut blocks = Vec::new();
    for message in &file.message_type {
        describe_message(&mut blocks, message, scope);
    }
    blocks.extend(file.enum_type.iter().map(|enumeration| describe_enum(enumeration, scope)));
    blocks.extend(file.service.iter().map(|service| describe_service(service, scope)));
    blocks.sort();
    format!("file {} {} {}\n{}", file.name(), scope, file.syntax(), blocks.join("\n"))
}

fn describe_message(blocks: &mut Vec<String>, message: &DescriptorProto, scope: &str) {
    let name = format!("{scope}.{}", message.name());
    let mut text = format!("message {name}");
    let mut fields: Vec<_> = message.field.iter().collect();
    fields.sort_by_key(|field| field.number());
    for field in fields {
        let repeated = if field.label() == Label::Repeated { "repeated " } else { "" };
        let oneof = field.oneof_index.map(|index| message.oneof_decl[index as usize].name());
        let oneof = oneof.map(|oneof| format!(" oneof {oneof}")).unwrap_or_default();
        write!(text, "\n  {} {} {repeated}{}{oneof}", field.number(), field.name(), type_name(field)).unwrap();
    }
    blocks.push(text);
    for nested in &message.nested_type {
        describe_message(blocks, nested, &name);
    }
    blocks.extend(message.enum_type.iter().map(|enumeration| describe_enum(enumeration, &name)));
}

fn describe_enum(enumeration: &EnumDescriptorProto, scope: &str) -> String {
    let mut text = format!("enum {scope}.{}", enumeration.name());
    for value in &enumeration.value {
        write!(text, "\n  {} {}", value.number(), value.name()).unwrap();
    }
    text
}

fn describe_service(service: &ServiceDescriptorProto, scope: &str) -> String {
    let mut methods: Vec<_> = service.method.iter().map(describe_method).collect();
    methods.sort();
    format!("service {scope}.{}\n  {}", service.name(), methods.join("\n  "))
}

fn describe_method(method: &MethodDescriptorProto) -> String {
    let stream = |on: bool| if on { "stream " } else { "" };
    let name = |full: &str| full.trim_start_matches('.').to_owned();
    format!(
        "{} {}{} -> {}{}",
        method.name(),
        stream(method.client_streaming()),
        name(method.input_type()),
        stream(method.server_streaming()),
        name(method.output_type())
    )
}

fn type_name(field: &FieldDescriptorProto) -> String {
    match field.r#type() {
        Type::Message | Type::Enum => field.type_name().trim_start_matches('.').to_owned(),
        scalar => scalar.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
    }
}
