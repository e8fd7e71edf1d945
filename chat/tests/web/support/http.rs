//! HTTP/1.1 as far as the tests need it: one request on a connection of its own, and a body that may come in chunks.
//!
//! Rule: whoever waits for an answer in vain is told which.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::PATIENCE;

/// An answer whose head was read.
pub(crate) struct Http {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    reader: BufReader<TcpStream>,
}

/// A whole answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) text: String,
}

impl Http {
    /// Asks, and reads the head. Fails when there is nobody, or the connection ends.
    pub(crate) async fn ask(
        addr: SocketAddr,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> std::io::Result<Self> {
        let length = body.map(|body| body.len().to_string());
        let mut headers = headers.to_vec();
        headers.extend(
            length
                .iter()
                .map(|length| ("content-length", length.as_str())),
        );
        Self::ask_raw(addr, method, path, &headers, body.unwrap_or_default()).await
    }

    /// The same, with a body as it is to go, whose length the headers say or not.
    pub(crate) async fn ask_raw(
        addr: SocketAddr,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> std::io::Result<Self> {
        let asked = Self::ask_patiently(addr, method, path, headers, body);
        timeout(PATIENCE, asked)
            .await
            .unwrap_or_else(|_| panic!("no answer: {method} {path}"))
    }

    async fn ask_patiently(
        addr: SocketAddr,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> std::io::Result<Self> {
        let mut stream = TcpStream::connect(addr).await?;
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        head.push_str(body);
        stream.write_all(head.as_bytes()).await?;
        let mut reader = BufReader::new(stream);
        let line = line(&mut reader).await?;
        let status = line
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let status = status.ok_or(std::io::ErrorKind::UnexpectedEof)?;
        let mut headers = Vec::new();
        loop {
            let line = self::line(&mut reader).await?;
            let Some((name, value)) = line.split_once(": ") else {
                break;
            };
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        Ok(Self {
            status,
            headers,
            reader,
        })
    }

    /// The rest.
    pub(crate) async fn whole(mut self) -> std::io::Result<Answer> {
        let mut text = String::new();
        let reading = async {
            if self.is_chunked() {
                while let Some(chunk) = self.chunk().await? {
                    text.push_str(&chunk);
                }
            } else {
                let length = self
                    .header("content-length")
                    .and_then(|length| length.parse().ok());
                let mut bytes = vec![0; length.unwrap_or(0)];
                self.reader.read_exact(&mut bytes).await?;
                text = String::from_utf8_lossy(&bytes).into_owned();
            }
            Ok::<_, std::io::Error>(())
        };
        timeout(PATIENCE, reading).await.expect("the answer ends")?;
        Ok(Answer {
            status: self.status,
            headers: self.headers,
            text,
        })
    }

    fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    pub(crate) fn is_chunked(&self) -> bool {
        self.header("transfer-encoding") == Some("chunked")
    }

    /// The next piece of a body in chunks; `None` at its end.
    pub(crate) async fn chunk(&mut self) -> std::io::Result<Option<String>> {
        let size = line(&mut self.reader).await?;
        let size =
            usize::from_str_radix(&size, 16).map_err(|_| std::io::ErrorKind::UnexpectedEof)?;
        let mut bytes = vec![0; size + 2];
        self.reader.read_exact(&mut bytes).await?;
        bytes.truncate(size);
        Ok((size > 0).then(|| String::from_utf8_lossy(&bytes).into_owned()))
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// Its body, which is JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|_| panic!("expected JSON, found {:?}", self.text))
    }

    /// Its body, if the status is this.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        if self.text.is_empty() {
            Value::Null
        } else {
            self.json()
        }
    }

    /// A refusal of this status and code.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) -> Value {
        let problem = self.expect(status);
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        assert_eq!(problem["request_id"].as_str(), self.header("x-request-id"));
        problem
    }
}

fn header<'h>(headers: &'h [(String, String)], name: &str) -> Option<&'h str> {
    headers
        .iter()
        .find(|(found, _)| found == name)
        .map(|(_, value)| value.as_str())
}

async fn line(reader: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    let mut line = String::new();
    if reader.read_line(&mut line).await? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}
