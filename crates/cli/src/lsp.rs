//! `stonetown lsp`: a language server for schemas, over standard input and output.
//!
//! One message at a time is read, answered and forgotten; texts of open documents are all that is kept. What is known of a text
//! comes from `stonetown_schema`: its errors and warnings, [`Outline`](stonetown_schema::Outline) and
//! [`complete`](stonetown_schema::complete()).
//!
//! Reading order: this file, `document` (a text, and the schema in it), `position`, `address`, then what is answered:
//! `diagnostics`, `names`, `rename`, `writing`.

mod address;
mod diagnostics;
mod document;
mod names;
mod position;
mod rename;
mod writing;

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::path::Path;

use anyhow::{Context, bail};
use lsp_server::{ErrorCode, Message, Notification, Request, RequestId, Response};
use lsp_types::notification::{
    DidChangeTextDocument, DidCloseTextDocument, DidOpenTextDocument, Exit, Notification as _, PublishDiagnostics,
};
use lsp_types::request::{
    Completion, DocumentSymbolRequest, Formatting, GotoDefinition, HoverRequest, Initialize, PrepareRenameRequest,
    References, Rename, Request as _, Shutdown,
};
use lsp_types::{
    CompletionOptions, DidChangeTextDocumentParams, DidCloseTextDocumentParams, DidOpenTextDocumentParams,
    HoverProviderCapability, InitializeResult, OneOf, PublishDiagnosticsParams, RenameOptions, ServerCapabilities,
    ServerInfo, TextDocumentPositionParams, TextDocumentSyncCapability, TextDocumentSyncKind, Uri,
    WorkDoneProgressOptions,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Outcome;
use document::Document;

/// Documents open at a time; what is opened beyond is not looked at.
const DOCUMENTS_MAX: usize = 1_000;

/// Serves until the client says `exit` or closes its end.
pub(crate) fn run() -> anyhow::Result<Outcome> {
    serve(&mut std::io::stdin().lock(), &mut std::io::stdout().lock())
}

fn serve(input: &mut impl BufRead, output: &mut impl Write) -> anyhow::Result<Outcome> {
    let mut session = Session::default();
    while let Some(message) = Message::read(input).context("the client's message cannot be read")? {
        match message {
            Message::Request(request) => session.answer(request).write(output)?,
            Message::Notification(notification) if notification.method == Exit::METHOD => {
                if session.stage == Stage::Ended {
                    return Ok(Outcome::Done);
                }
                bail!("the client left without `{}`", Shutdown::METHOD);
            }
            Message::Notification(notification) => {
                for published in session.notice(notification) {
                    published.write(output)?;
                }
            }
            // Nothing was asked.
            Message::Response(_) => {}
        }
    }
    Ok(Outcome::Done)
}

/// What the client and we agree on.
#[derive(Default)]
struct Session {
    stage: Stage,
    documents: Documents,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    #[default]
    New,
    Open,
    Ended,
}

/// The open documents.
#[derive(Default)]
struct Documents(HashMap<String, Document>);

/// Why a request has no answer.
struct Refusal {
    code: ErrorCode,
    message: String,
}

type Answer = Result<Value, Refusal>;

impl Session {
    fn answer(&mut self, request: Request) -> Message {
        let Request { id, method, params } = request;
        let answer = match (self.stage, &*method) {
            (Stage::New, Initialize::METHOD) => {
                self.stage = Stage::Open;
                value(initialize())
            }
            (Stage::New, _) => Err(Refusal::new(ErrorCode::ServerNotInitialized, "`initialize` comes first")),
            (Stage::Open, Shutdown::METHOD) => {
                self.stage = Stage::Ended;
                Ok(Value::Null)
            }
            (Stage::Open, _) => self.documents.answer(&method, params),
            (Stage::Ended, _) => Err(Refusal::new(ErrorCode::InvalidRequest, "the session has ended")),
        };
        response(id, answer).into()
    }

    /// What changed, and what is to be said of it.
    fn notice(&mut self, notification: Notification) -> Vec<Message> {
        if self.stage != Stage::Open {
            return Vec::new();
        }
        let documents = &mut self.documents;
        let changed = match &*notification.method {
            DidOpenTextDocument::METHOD => documents.open(notification.params),
            DidChangeTextDocument::METHOD => documents.change(notification.params),
            DidCloseTextDocument::METHOD => documents.close(notification.params),
            // Notifications are not answered, not even those that are not known.
            _ => None,
        };
        let Some(changed) = changed else { return Vec::new() };
        // What imports other files may have changed its meaning.
        let affected = documents.0.iter().filter(|(uri, document)| **uri == changed || document.has_imports());
        let mut published: Vec<_> = affected.map(|(uri, document)| (uri.clone(), Some(document))).collect();
        published.sort_by(|a, b| a.0.cmp(&b.0));
        if !documents.0.contains_key(&changed) {
            published.push((changed, None));
        }
        published.into_iter().filter_map(|(uri, document)| documents.published(&uri, document)).collect()
    }
}

impl Documents {
    fn answer(&self, method: &str, params: Value) -> Answer {
        match method {
            HoverRequest::METHOD => self.at(params, names::hover),
            GotoDefinition::METHOD => self.at(params, names::definition),
            PrepareRenameRequest::METHOD => self.at(params, rename::prepare),
            Completion::METHOD => self.at(params, writing::completion),
            References::METHOD => {
                let asked: lsp_types::ReferenceParams = parse(params)?;
                let declaration = asked.context.include_declaration;
                self.at_position(&asked.text_document_position, |view, offset| {
                    Ok(names::references(view, offset, declaration))
                })
            }
            Rename::METHOD => {
                let asked: lsp_types::RenameParams = parse(params)?;
                self.at_position(&asked.text_document_position, |view, offset| {
                    rename::rename(view, offset, &asked.new_name)
                })
            }
            DocumentSymbolRequest::METHOD => {
                let asked: lsp_types::DocumentSymbolParams = parse(params)?;
                value(self.view(&asked.text_document.uri).map(|view| names::symbols(&view)))
            }
            Formatting::METHOD => {
                let asked: lsp_types::DocumentFormattingParams = parse(params)?;
                value(self.view(&asked.text_document.uri).and_then(|view| writing::formatting(&view)))
            }
            _ => Err(Refusal::new(ErrorCode::MethodNotFound, format!("`{method}` is not served"))),
        }
    }

    /// Answers a question about a place, which begins with document and position, whatever follows.
    fn at<T: Serialize>(&self, params: Value, ask: impl FnOnce(&View<'_>, usize) -> T) -> Answer {
        let place: TextDocumentPositionParams = parse(params)?;
        self.at_position(&place, |view, offset| Ok(ask(view, offset)))
    }

    /// `null` where the document is not open, or has no schema there.
    fn at_position<T: Serialize>(
        &self,
        place: &TextDocumentPositionParams,
        ask: impl FnOnce(&View<'_>, usize) -> Result<T, Refusal>,
    ) -> Answer {
        let Some(view) = self.view(&place.text_document.uri) else { return Ok(Value::Null) };
        match view.document.offset(place.position) {
            Some(offset) => value(ask(&view, offset)?),
            None => Ok(Value::Null),
        }
    }

    fn view(&self, uri: &Uri) -> Option<View<'_>> {
        let document = self.0.get(uri.as_str())?;
        Some(View { documents: self, uri: uri.as_str().to_owned(), document })
    }

    fn open(&mut self, params: Value) -> Option<String> {
        let DidOpenTextDocumentParams { text_document } = parse(params).ok()?;
        let uri = text_document.uri.as_str().to_owned();
        if self.0.len() >= DOCUMENTS_MAX && !self.0.contains_key(&uri) {
            return None;
        }
        let document = Document::new(&uri, &text_document.language_id, text_document.text);
        self.0.insert(uri.clone(), document);
        Some(uri)
    }

    fn change(&mut self, params: Value) -> Option<String> {
        let DidChangeTextDocumentParams { text_document, content_changes } = parse(params).ok()?;
        let uri = text_document.uri.as_str().to_owned();
        let document = self.0.get_mut(&uri)?;
        content_changes.into_iter().for_each(|change| document.change(change));
        Some(uri)
    }

    fn close(&mut self, params: Value) -> Option<String> {
        let DidCloseTextDocumentParams { text_document } = parse(params).ok()?;
        let uri = text_document.uri.as_str().to_owned();
        self.0.remove(&uri).map(|_| uri)
    }

    /// The diagnostics of a document; none of one that was closed.
    fn published(&self, uri: &str, document: Option<&Document>) -> Option<Message> {
        let diagnostics = document.map_or_else(Vec::new, |document| {
            diagnostics::of(&View { documents: self, uri: uri.to_owned(), document })
        });
        let params = PublishDiagnosticsParams { uri: uri.parse().ok()?, diagnostics, version: None };
        let params = serde_json::to_value(params).ok()?;
        Some(Notification { method: PublishDiagnostics::METHOD.to_owned(), params }.into())
    }

    /// The text of a file: that of an open document, or else the one on disk.
    fn read(&self, path: &Path) -> Result<String, String> {
        match address::from_path(path).and_then(|uri| self.0.get(&uri)) {
            Some(document) => Ok(document.text().to_owned()),
            None => crate::schema::read_bounded(path).map_err(|error| error.to_string()),
        }
    }
}

/// A document among the others.
struct View<'a> {
    documents: &'a Documents,
    uri: String,
    document: &'a Document,
}

impl View<'_> {
    /// Runs `work` with a function that reads imports: from beside the document, if it is a file.
    fn with_imports<T>(&self, work: impl FnOnce(Option<stonetown_schema::ResolveImport<'_>>) -> T) -> T {
        match self.document.folder() {
            Some(folder) => work(Some(&|path: &str| self.documents.read(&folder.join(path)))),
            None => work(None),
        }
    }

    fn outline(&self) -> stonetown_schema::Outline {
        self.with_imports(|imports| stonetown_schema::Outline::read(self.document.schema(), imports))
    }
}

impl Refusal {
    fn new(code: ErrorCode, message: impl Into<String>) -> Refusal {
        Refusal { code, message: message.into() }
    }
}

fn initialize() -> InitializeResult {
    let triggers = [":", "#", ">", ".", "(", "|", "<", "/"];
    InitializeResult {
        capabilities: ServerCapabilities {
            text_document_sync: Some(TextDocumentSyncCapability::Kind(TextDocumentSyncKind::INCREMENTAL)),
            hover_provider: Some(HoverProviderCapability::Simple(true)),
            definition_provider: Some(OneOf::Left(true)),
            references_provider: Some(OneOf::Left(true)),
            document_symbol_provider: Some(OneOf::Left(true)),
            document_formatting_provider: Some(OneOf::Left(true)),
            rename_provider: Some(OneOf::Right(RenameOptions {
                prepare_provider: Some(true),
                work_done_progress_options: WorkDoneProgressOptions::default(),
            })),
            completion_provider: Some(CompletionOptions {
                trigger_characters: Some(triggers.map(str::to_owned).to_vec()),
                ..CompletionOptions::default()
            }),
            ..ServerCapabilities::default()
        },
        server_info: Some(ServerInfo {
            name: "stonetown".to_owned(),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        }),
    }
}

fn parse<T: DeserializeOwned>(params: Value) -> Result<T, Refusal> {
    serde_json::from_value(params).map_err(|error| Refusal::new(ErrorCode::InvalidParams, error.to_string()))
}

fn value(answer: impl Serialize) -> Answer {
    serde_json::to_value(answer).map_err(|error| Refusal::new(ErrorCode::InternalError, error.to_string()))
}

fn response(id: RequestId, answer: Answer) -> Response {
    match answer {
        Ok(value) => Response::new_ok(id, value),
        Err(refusal) => Response::new_err(id, refusal.code as i32, refusal.message),
    }
}

#[cfg(test)]
mod tests;
