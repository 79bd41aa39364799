//! Any call of any service, by its descriptor: what is asked is JSON, what comes back is kept whole, to be compared.

use std::collections::BTreeMap;
use std::time::Duration;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, MethodDescriptor};
use stonetown_api::proto::DESCRIPTORS;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

/// Silence after which a stream that lasts is left.
const SILENCE: Duration = Duration::from_millis(400);
/// Messages of a stream that are read.
const MESSAGES_MAX: usize = 1_000;
/// What differs from call to call: the id of the request, and the time.
const OWN_OF_A_CALL: [&str; 3] = ["x-request-id", "io.spicedb.respmeta.requestid", "date"];

/// The compiled services.
pub(crate) fn pool() -> DescriptorPool {
    DescriptorPool::decode(DESCRIPTORS).unwrap()
}

/// The descriptor of a method, such as `authzed.api.v1.WatchService/Watch`.
pub(crate) fn method(pool: &DescriptorPool, path: &str) -> MethodDescriptor {
    let (service, name) = path.split_once('/').unwrap();
    let service = pool.get_service_by_name(service).unwrap_or_else(|| panic!("no service `{service}`"));
    service.methods().find(|method| method.name() == name).unwrap_or_else(|| panic!("no method `{path}`"))
}

/// What a call was answered with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) code: Code,
    pub(crate) message: String,
    /// The details of an error, as they came.
    pub(crate) details: Vec<u8>,
    /// Trailers of an error, but for what differs from call to call.
    pub(crate) trailers: BTreeMap<String, String>,
    /// The messages before the end, as JSON.
    pub(crate) messages: Vec<serde_json::Value>,
}

impl Answer {
    /// Whether the caller was told that this is not for it, in one of the two ways there are.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self.code, Code::PermissionDenied | Code::NotFound) && self.messages.is_empty()
    }

    fn refused(status: &Status, messages: Vec<serde_json::Value>) -> Answer {
        let trailers = status.metadata().clone().into_headers();
        let trailers = trailers.iter().filter(|(name, _)| !OWN_OF_A_CALL.contains(&name.as_str()));
        let trailers =
            trailers.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into()));
        Answer {
            code: status.code(),
            message: status.message().to_owned(),
            details: status.details().to_vec(),
            trailers: trailers.collect(),
            messages,
        }
    }
}

/// Somebody who calls.
#[derive(Clone)]
pub(crate) struct Caller {
    channel: Channel,
    pool: DescriptorPool,
    /// Sent as it is, if at all.
    pub(crate) authorization: Option<String>,
}

impl Caller {
    pub(crate) async fn new(address: &str, token: &str) -> Caller {
        let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        Caller { channel, pool: pool(), authorization: Some(format!("Bearer {token}")) }
    }

    /// Another caller over the same connection.
    pub(crate) fn with(&self, token: &str) -> Caller {
        self.showing(Some(&format!("Bearer {token}")))
    }

    /// Another who sends this as `authorization`, or nothing.
    pub(crate) fn showing(&self, authorization: Option<&str>) -> Caller {
        Caller { authorization: authorization.map(str::to_owned), ..self.clone() }
    }

    /// Asks with a JSON message.
    pub(crate) async fn ask(&self, path: &str, message: &str) -> Answer {
        self.ask_for(path, message, SILENCE).await
    }

    /// As [`Caller::ask`], leaving a stream after so much silence.
    pub(crate) async fn ask_for(&self, path: &str, message: &str, silence: Duration) -> Answer {
        let method = method(&self.pool, path);
        let mut json = serde_json::Deserializer::from_str(message);
        let message = DynamicMessage::deserialize(method.input(), &mut json);
        let message = message.unwrap_or_else(|error| panic!("{path}: {error}"));
        self.send_for(path, message, method.output(), silence).await
    }

    /// As [`Caller::ask`], for a call that is to succeed.
    pub(crate) async fn get(&self, path: &str, message: &str) -> serde_json::Value {
        let answer = self.ask(path, message).await;
        assert_eq!(answer.code, Code::Ok, "{path} {message}: {answer:?}");
        answer.messages.into_iter().next().unwrap_or_default()
    }

    pub(crate) async fn send(&self, path: &str, message: DynamicMessage, output: MessageDescriptor) -> Answer {
        self.send_for(path, message, output, SILENCE).await
    }

    async fn send_for(
        &self,
        path: &str,
        message: DynamicMessage,
        output: MessageDescriptor,
        silence: Duration,
    ) -> Answer {
        let mut client = tonic::client::Grpc::new(self.channel.clone());
        client.ready().await.unwrap();
        let mut request = Request::new(futures::stream::iter([message]));
        if let Some(value) = &self.authorization {
            request.metadata_mut().insert("authorization", value.parse().unwrap());
        }
        let path = format!("/{}", path.trim_start_matches('/')).parse().unwrap();
        // A watch says nothing until there is something to say.
        let begun =
            tokio::time::timeout(Duration::from_secs(20), client.streaming(request, path, Dynamic(output))).await;
        let mut stream = match begun.unwrap_or_else(|_| Err(Status::internal("no answer in time"))) {
            Ok(response) => response.into_inner(),
            Err(status) => return Answer::refused(&status, Vec::new()),
        };
        let mut messages = Vec::new();
        loop {
            match tokio::time::timeout(silence, stream.message()).await {
                Ok(Ok(Some(message))) if messages.len() < MESSAGES_MAX => {
                    // Details of errors are not in the pool.
                    messages.push(serde_json::to_value(&message).unwrap_or_else(|_| message.to_string().into()));
                }
                Ok(Err(status)) => return Answer::refused(&status, messages),
                Ok(Ok(_)) | Err(_) => {
                    let (message, details, trailers) = (String::new(), Vec::new(), BTreeMap::new());
                    return Answer { code: Code::Ok, message, details, trailers, messages };
                }
            }
        }
    }
}

/// Messages by their descriptor.
struct Dynamic(MessageDescriptor);

impl Codec for Dynamic {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = Encode;
    type Decoder = Decode;

    fn encoder(&mut self) -> Encode {
        Encode
    }

    fn decoder(&mut self) -> Decode {
        Decode(self.0.clone())
    }
}

struct Encode;

impl Encoder for Encode {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, message: DynamicMessage, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        message.encode(to).map_err(|error| Status::internal(error.to_string()))
    }
}

struct Decode(MessageDescriptor);

impl Decoder for Decode {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        let message = DynamicMessage::decode(self.0.clone(), from);
        message.map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}
