//! A connection before it is under load: one request at a time, and the answer is waited for.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// How long a server may take to accept a connection, and to answer before it is under load.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// See the file's header.
#[derive(Debug)]
pub struct Conversation {
    stream: TcpStream,
    /// What has come in and was not read yet.
    inbound: Vec<u8>,
}

impl Conversation {
    /// Connects.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, ANSWER_WITHIN)
            .with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        Ok(Self {
            stream,
            inbound: Vec::new(),
        })
    }

    /// Writes, and reads until `read` has found its answer at the front of what has come in; it gives the answer and its
    /// length, or `None` when there is not enough yet.
    ///
    /// # Errors
    /// The connection fails, or `read` does.
    pub fn exchange<T>(
        &mut self,
        request: &[u8],
        mut read: impl FnMut(&[u8]) -> Result<Option<(T, usize)>>,
    ) -> Result<T> {
        self.stream.write_all(request)?;
        loop {
            if let Some((answer, length)) = read(&self.inbound)? {
                self.inbound.drain(..length);
                return Ok(answer);
            }
            let mut part = [0; 4096];
            match self.stream.read(&mut part) {
                Ok(0) => bail!("the server has closed the connection"),
                Ok(count) => self.inbound.extend_from_slice(&part[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("the server does not answer"),
            }
        }
    }

    /// The connection, and what has come in beyond the answers.
    pub(crate) fn into_parts(self) -> (TcpStream, Vec<u8>) {
        (self.stream, self.inbound)
    }
}
