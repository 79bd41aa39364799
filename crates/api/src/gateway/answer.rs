//! The answer of a call as HTTP: one object, or a line for each message of a stream.

use std::convert::Infallible;
use std::time::Duration;

use futures::{Stream, stream};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{Full, StreamBody};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::{Value, json};
use tonic::body::Body;
use tonic::codegen::Bytes;
use tonic::{Code, Status, Streaming};

use super::codec::write;
use super::{JSON, metadata};
use crate::proto::google::rpc;
use crate::status;

/// How long the head of a stream's answer waits for its first message, so that a stream that fails at once fails with the
/// status of its error. One that has nothing to say yet is begun after that.
const FIRST_MESSAGE_WAIT: Duration = Duration::from_secs(1);

type Answer = Result<tonic::Response<Streaming<DynamicMessage>>, Status>;

/// Writes answers.
pub(super) struct Answers {
    /// Knows the details that errors carry.
    pool: DescriptorPool,
}

/// What a stream has still to say.
enum Next {
    First(Option<DynamicMessage>, Streaming<DynamicMessage>),
    Failed(Status),
    Rest(Streaming<DynamicMessage>),
    Nothing,
}

impl Answers {
    pub(super) fn new(pool: DescriptorPool) -> Answers {
        Answers { pool }
    }

    /// The answer of a call with one message.
    pub(super) async fn of_one(&self, answer: Answer) -> Response<Body> {
        match whole(answer).await {
            Ok((text, headers)) => {
                let mut response = json(StatusCode::OK, text);
                response.headers_mut().extend(headers);
                response
            }
            Err(status) => self.of_status(&status),
        }
    }

    /// The answer of a call that streams: `{"result": …}` for each message, `{"error": …}` where it fails, a line each.
    pub(super) async fn of_stream(&self, answer: Answer) -> Response<Body> {
        let next = match answer {
            Ok(answer) => begun(answer.into_inner()).await,
            Err(status) => Next::Failed(status),
        };
        let (code, headers) = match &next {
            Next::Failed(status) => (http_status(status.code()), headers(status)),
            _ => (StatusCode::OK, HeaderMap::new()),
        };
        let mut response = Response::new(Body::new(StreamBody::new(frames(next, self.pool.clone()))));
        *response.status_mut() = code;
        *response.headers_mut() = headers;
        response.headers_mut().insert(header::CONTENT_TYPE, JSON);
        response
    }

    /// An error as `google.rpc.Status`.
    pub(super) fn of_status(&self, status: &Status) -> Response<Body> {
        let mut response = json(http_status(status.code()), error(status, &self.pool).to_string());
        response.headers_mut().extend(headers(status));
        response
    }

    /// An error that is one of HTTP only.
    pub(super) fn refusal(&self, code: StatusCode, message: &str) -> Response<Body> {
        let status = match code {
            StatusCode::NOT_FOUND => Status::not_found(message),
            _ => Status::unimplemented(message),
        };
        json(code, error(&status, &self.pool).to_string())
    }
}

/// A response with a JSON body.
pub(super) fn json(code: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::new(text.into())));
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

/// The one message of an answer, with what is told beside it.
async fn whole(answer: Answer) -> Result<(Vec<u8>, HeaderMap), Status> {
    let (head, mut messages, _) = answer?.into_parts();
    let message = messages.message().await?.ok_or_else(status::lost)?;
    let trailers = messages.trailers().await?.unwrap_or_default();
    let mut headers = metadata::of_answer(head);
    headers.extend(metadata::of_answer(trailers));
    Ok((write(&message, "", "")?, headers))
}

/// A stream and its first message, if that comes soon.
async fn begun(mut messages: Streaming<DynamicMessage>) -> Next {
    match tokio::time::timeout(FIRST_MESSAGE_WAIT, messages.message()).await {
        Ok(Ok(first)) => Next::First(first, messages),
        Ok(Err(status)) => Next::Failed(status),
        Err(_) => Next::Rest(messages),
    }
}

fn frames(next: Next, pool: DescriptorPool) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> + Send + 'static {
    stream::unfold((next, pool), |(next, pool)| async move {
        let (message, messages) = match next {
            Next::First(message, messages) => (Ok(message), messages),
            Next::Rest(mut messages) => (messages.message().await, messages),
            Next::Failed(status) => return Some((Ok(failure(&status, &pool)), (Next::Nothing, pool))),
            Next::Nothing => return None,
        };
        let (frame, next) = match message.and_then(|message| message.map(|message| line(&message)).transpose()) {
            Ok(Some(line)) => (Frame::data(line.into()), Next::Rest(messages)),
            Ok(None) => (Frame::trailers(trailers(messages).await?), Next::Nothing),
            Err(status) => (failure(&status, &pool), Next::Nothing),
        };
        Some((Ok(frame), (next, pool)))
    })
}

fn line(message: &DynamicMessage) -> Result<Vec<u8>, Status> {
    write(message, "{\"result\":", "}\n")
}

fn failure(status: &Status, pool: &DescriptorPool) -> Frame<Bytes> {
    Frame::data(format!("{}\n", json!({ "error": error(status, pool) })).into())
}

/// What is told after a stream, if anything is.
async fn trailers(mut messages: Streaming<DynamicMessage>) -> Option<HeaderMap> {
    let trailers = metadata::of_answer(messages.trailers().await.ok()??);
    Some(trailers).filter(|trailers| !trailers.is_empty())
}

/// What is told beside an error.
fn headers(status: &Status) -> HeaderMap {
    let mut headers = metadata::of_answer(status.metadata().clone());
    if status.code() == Code::Unauthenticated {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    headers
}

/// An error as `google.rpc.Status` in JSON. Details of a kind that is not known are left out.
fn error(status: &Status, pool: &DescriptorPool) -> Value {
    let full = rpc::Status::decode(status.details()).unwrap_or_default();
    let any = pool.get_message_by_name("google.protobuf.Any");
    let details: Vec<Value> = full
        .details
        .iter()
        .filter_map(|detail| {
            let detail = DynamicMessage::decode(any.clone()?, &*detail.encode_to_vec()).ok()?;
            serde_json::to_value(&detail).ok()
        })
        .collect();
    json!({ "code": status.code() as i32, "message": status.message(), "details": details })
}

/// The status of HTTP for a code, as gRPC's own gateway has it.
fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        // What proxies say of a client that left.
        Code::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
