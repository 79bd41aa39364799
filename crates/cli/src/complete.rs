//! What a shell offers where a command line goes on: commands and flags, and names from the server that the line would ask: types,
//! relations and permissions of its schema, ids of its relationships; and contexts.
//!
//! The shell runs this program with the line so far. Whatever goes wrong, nothing is offered and nothing is said: a shell has no
//! place for it.

mod bash;
mod names;

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use clap::FromArgMatches;
use clap_complete::CompleteEnv;
use clap_complete::engine::CompletionCandidate;
use clap_complete::env::{Elvish, Fish, Powershell, Shells, Zsh};
use stonetown_api::proto::authzed::api::v1 as pb;
use stonetown_schema::{CompileOptions, Schema};

use crate::client::{self, Client, Connection, Freshness};
use crate::context::{self, Contexts};
use names::{Members, Word};

/// Tells this program that it is asked by a shell, and by which.
pub(crate) const VARIABLE: &str = "STONETOWN_COMPLETE";
/// The shells that can ask.
pub(crate) const SHELLS: Shells<'static> = Shells(&[&bash::Bash, &Elvish, &Fish, &Powershell, &Zsh]);
/// Time for the server to answer: somebody waits before an empty line.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Relationships that are read to offer ids.
const RELATIONSHIPS_MAX: u32 = 200;

/// Answers the shell, and ends the program, if it was a shell that asked.
pub(crate) fn answer(command: fn() -> clap::Command) {
    CompleteEnv::with_factory(command).var(VARIABLE).shells(SHELLS).complete();
}

/// The line that is completed.
struct Line {
    /// The words before the one that is completed.
    words: Vec<OsString>,
}

impl Line {
    /// As the shell handed it over: `stonetown -- WORDS`, with the place among them where it is not the last.
    fn read() -> Line {
        let mut words: Vec<_> = std::env::args_os().skip_while(|word| word != "--").skip(1).collect();
        let place = std::env::var("_CLAP_COMPLETE_INDEX").ok().and_then(|place| place.parse().ok());
        words.truncate(place.unwrap_or(words.len().saturating_sub(1)));
        Line { words }
    }

    /// The server that the line would ask.
    fn connection(&self) -> Option<Connection> {
        let matches = crate::command().ignore_errors(true).try_get_matches_from(&self.words).ok()?;
        Some(Connection::from_arg_matches(&matches).ok()?.asking_once())
    }

    /// The type of the last object in the line.
    fn object_type<'s>(&self, schema: &'s Schema) -> Option<&'s str> {
        let of_word = |word: &OsString| {
            let name = word.to_str()?.split([':', '#']).next()?;
            schema.definition(name).map(|definition| definition.name.as_str())
        };
        self.words.iter().rev().find_map(of_word)
    }

    /// Asks the server, for a short time.
    fn ask<T>(&self, work: impl AsyncFnOnce(&mut Client) -> Option<T>) -> Option<T> {
        let connection = self.connection()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        runtime.block_on(async {
            let asked = async { work(&mut client::connect(connection).await.ok()?).await };
            tokio::time::timeout(TIMEOUT, asked).await.ok().flatten()
        })
    }

    fn schema(&self) -> Option<Schema> {
        let text = self.ask(async |client| {
            let answer = client.schema.read_schema(pb::ReadSchemaRequest {}).await.ok()?;
            Some(answer.into_inner().schema_text)
        })?;
        Schema::compile(&text, &CompileOptions::default()).ok()
    }

    /// The ids that stand in some relationships.
    fn ids(&self, filter: pb::RelationshipFilter, id: fn(pb::Relationship) -> Option<String>) -> Vec<String> {
        let request = pb::ReadRelationshipsRequest {
            consistency: Some(Freshness::quickest()),
            relationship_filter: Some(filter),
            optional_limit: RELATIONSHIPS_MAX,
            optional_cursor: None,
        };
        let found = self.ask(async |client| {
            let mut answers = client.permissions.read_relationships(request).await.ok()?.into_inner();
            let mut ids = Vec::new();
            while let Ok(Some(answer)) = answers.message().await {
                ids.extend(answer.relationship.and_then(id));
            }
            Some(ids)
        });
        let mut found = found.unwrap_or_default();
        found.sort();
        found.dedup();
        found
    }
}

/// `TYPE`.
pub(crate) fn object_type(current: &OsStr) -> Vec<CompletionCandidate> {
    offer(current, |word, line| Some(names::types(word, &line.schema()?)))
}

/// `TYPE`, or `TYPE#RELATION`.
pub(crate) fn subject_type(current: &OsStr) -> Vec<CompletionCandidate> {
    offer(current, |word, line| {
        let schema = line.schema()?;
        Some(match word.relation {
            Some(_) => names::members(word, &schema, Some(word.object_type), Members::All),
            None => names::types(word, &schema),
        })
    })
}

/// `TYPE:ID` of a resource.
pub(crate) fn resource(current: &OsStr) -> Vec<CompletionCandidate> {
    offer(current, resources)
}

/// `TYPE:ID` or `TYPE:ID#RELATION` of a subject.
pub(crate) fn subject(current: &OsStr) -> Vec<CompletionCandidate> {
    offer(current, subjects)
}

/// A relation or permission of the object before it, or of any.
pub(crate) fn permission(current: &OsStr) -> Vec<CompletionCandidate> {
    offer(current, |word, line| {
        let schema = line.schema()?;
        Some(names::members(word, &schema, line.object_type(&schema), Members::All))
    })
}

/// A relation of the object before it.
pub(crate) fn relation(current: &OsStr) -> Vec<CompletionCandidate> {
    offer(current, |word, line| {
        let schema = line.schema()?;
        Some(names::members(word, &schema, line.object_type(&schema), Members::Relations))
    })
}

/// `RESOURCE#PERMISSION@SUBJECT`.
pub(crate) fn check(current: &OsStr) -> Vec<CompletionCandidate> {
    offer(current, |word, line| whole(word, line, Members::All))
}

/// `RESOURCE#RELATION@SUBJECT`, or its beginning.
pub(crate) fn relationship(current: &OsStr) -> Vec<CompletionCandidate> {
    offer(current, |word, line| whole(word, line, Members::Relations))
}

/// A context.
pub(crate) fn context(current: &OsStr) -> Vec<CompletionCandidate> {
    offer(current, |word, _| {
        let contexts = Contexts::load(&context::path().ok()?).ok()?;
        Some(contexts.names().filter(|name| name.starts_with(word.text)).map(str::to_owned).collect())
    })
}

fn offer(current: &OsStr, names: impl FnOnce(&Word<'_>, &Line) -> Option<Vec<String>>) -> Vec<CompletionCandidate> {
    let Some(text) = current.to_str() else { return Vec::new() };
    let names = names(&Word::new(text), &Line::read()).unwrap_or_default();
    names.into_iter().map(CompletionCandidate::new).collect()
}

fn whole(word: &Word<'_>, line: &Line, members: Members) -> Option<Vec<String>> {
    if let Some((before, subject)) = word.text.split_once('@') {
        let subjects = subjects(&Word::new(subject), line)?;
        return Some(subjects.into_iter().map(|subject| format!("{before}@{subject}")).collect());
    }
    match word.relation {
        Some(_) => Some(names::members(word, &line.schema()?, Some(word.object_type), members)),
        None => resources(word, line),
    }
}

fn resources(word: &Word<'_>, line: &Line) -> Option<Vec<String>> {
    let Some(id) = word.id else { return Some(names::objects(word, &line.schema()?)) };
    let filter = pb::RelationshipFilter {
        resource_type: word.object_type.to_owned(),
        optional_resource_id_prefix: id.to_owned(),
        ..Default::default()
    };
    let ids = line.ids(filter, |relationship| Some(relationship.resource?.object_id));
    Some(ids.into_iter().map(|id| format!("{}:{id}", word.object_type)).collect())
}

fn subjects(word: &Word<'_>, line: &Line) -> Option<Vec<String>> {
    let Some(id) = word.id else { return Some(names::objects(word, &line.schema()?)) };
    if word.relation.is_some() {
        return Some(names::members(word, &line.schema()?, Some(word.object_type), Members::All));
    }
    let subject = pb::SubjectFilter { subject_type: word.object_type.to_owned(), ..Default::default() };
    let filter = pb::RelationshipFilter { optional_subject_filter: Some(subject), ..Default::default() };
    let ids = line.ids(filter, |relationship| Some(relationship.subject?.object?.object_id));
    let ids = ids.into_iter().filter(|found| found.starts_with(id));
    Some(ids.map(|id| format!("{}:{id}", word.object_type)).collect())
}
