//! Requests over plain HTTP/1.1, as programs without gRPC make them.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// An answer that was read to its end.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub code: u16,
    /// Its headers, in lower case.
    pub headers: BTreeMap<String, String>,
    /// Its body.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Errors
    /// If it is none.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.body).with_context(|| format!("not JSON: {}", self.body))
    }

    /// The body's lines as JSON.
    ///
    /// # Errors
    /// If one is none.
    pub fn lines(&self) -> Result<Vec<Value>> {
        self.body.lines().map(|line| serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))).collect()
    }
}

/// Posts JSON to a path of `host:port`.
///
/// # Errors
/// If no answer comes.
pub async fn post(address: &str, path: &str, headers: &[(&str, &str)], body: impl Into<String>) -> Result<Answer> {
    ask(address, "POST", path, headers, body).await
}

/// Makes a request to `host:port` and reads the answer to its end.
///
/// # Errors
/// If no answer comes.
pub async fn ask(
    address: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<String>,
) -> Result<Answer> {
    let response = begin(address, method, path, headers, body).await?;
    let headers = response.headers().iter().map(|(name, value)| (name.as_str().to_owned(), lossy(value.as_bytes())));
    let (code, headers) = (response.status().as_u16(), headers.collect());
    let body = lossy(&response.into_body().collect().await?.to_bytes());
    Ok(Answer { code, headers, body })
}

/// Makes a request and leaves its answer to be read. The connection ends with the answer.
///
/// # Errors
/// If no answer comes.
pub async fn begin(
    address: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<String>,
) -> Result<Response<Incoming>> {
    let stream = TcpStream::connect(address).await.with_context(|| format!("no server at {address}"))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(path).header("host", address);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Ok(sender.send_request(request.body(Full::new(Bytes::from(body.into())))?).await?)
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
