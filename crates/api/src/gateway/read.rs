//! The JSON body of a request as the body of the gRPC request it stands for, read no faster than that is.

use std::future::poll_fn;
use std::pin::Pin;

use futures::{Stream, StreamExt, stream};
use http_body::{Body as _, Frame};
use http_body_util::StreamBody;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use tonic::Status;
use tonic::body::Body;

use super::codec::{framed, parse};
use super::values::Values;
use crate::status;

/// The same messages as gRPC sends them: exactly one, for which an empty body stands, too, or `many`. What is wrong with them
/// fails the body, and so the call that reads it.
pub(super) fn translated(body: Body, input: MessageDescriptor, many: bool, bytes_max: usize) -> Body {
    let messages = messages(body, input, many, bytes_max);
    Body::new(StreamBody::new(messages.map(|message| Ok::<_, Status>(Frame::data(framed(&message?)?)))))
}

fn messages(
    body: Body,
    input: MessageDescriptor,
    many: bool,
    bytes_max: usize,
) -> impl Stream<Item = Result<DynamicMessage, Status>> + Send + 'static {
    let reader = Reader { body, values: Values::new(many, bytes_max), input, many, ended: false };
    stream::unfold(Some(reader), |reader| async move {
        let mut reader = reader?;
        match reader.next().await {
            Ok(Some(message)) => Some((Ok(message), Some(reader))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    })
}

struct Reader {
    body: Body,
    values: Values,
    input: MessageDescriptor,
    many: bool,
    ended: bool,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<DynamicMessage>, Status> {
        loop {
            if let Some(value) = self.values.next()? {
                return parse(&self.input, &value).map(Some);
            }
            if self.ended {
                return Ok(None);
            }
            match poll_fn(|context| Pin::new(&mut self.body).poll_frame(context)).await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.values.push(&data);
                    }
                }
                // Never as a cancellation, which a service may take for the end of a stream: what broke off is not whole.
                Some(Err(error)) => return Err(status::broken_off(&error)),
                None => {
                    self.ended = true;
                    if self.values.end()? && !self.many {
                        return Ok(Some(DynamicMessage::new(self.input.clone())));
                    }
                }
            }
        }
    }
}
