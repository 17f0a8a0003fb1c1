//! Asks for a page and reads no more of the answer than its status.
//!
//! Called by the parent module. Redirects are not followed: they are an answer.

use nesos_shell::tls::web;
use nesos_wire::check::HttpProbe;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest first line that is waited for.
const MAX_LINE: usize = 1024;

/// The status code of the answer, or why there is none.
pub(super) async fn status(stream: TcpStream, page: &HttpProbe) -> Result<u32, String> {
    if page.is_https {
        let host = if page.is_ipv6 { "::1" } else { "127.0.0.1" };
        let stream = web::connect_to_anybody(host, stream).await;
        return ask(stream.map_err(|error| error.to_string())?, page).await;
    }
    ask(stream, page).await
}

async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    page: &HttpProbe,
) -> Result<u32, String> {
    let host = if page.is_ipv6 { "[::1]" } else { "127.0.0.1" };
    let path = if page.path.is_empty() {
        "/"
    } else {
        &page.path
    };
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}:{}\r\nUser-Agent: nesos\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        page.port
    );
    let mut line = Vec::new();
    let exchange = async {
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await?;
        let mut buffer = [0; 256];
        while line.len() < MAX_LINE && !line.contains(&b'\n') {
            match stream.read(&mut buffer).await? {
                0 => break,
                length => line.extend_from_slice(&buffer[..length]),
            }
        }
        Ok(())
    };
    exchange
        .await
        .map_err(|error: std::io::Error| format!("ask for the page: {error}"))?;
    code(&line).ok_or_else(|| "the answer is not HTTP".into())
}

/// The code in `HTTP/1.1 200 OK`.
fn code(line: &[u8]) -> Option<u32> {
    let rest = line.strip_prefix(b"HTTP/1.")?;
    let digits = rest.get(2..5).filter(|_| rest.get(1) == Some(&b' '))?;
    let code: u32 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (code >= 100).then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_from_whole_first_lines_only() {
        assert_eq!(code(b"HTTP/1.1 200 OK\r\n"), Some(200));
        assert_eq!(code(b"HTTP/1.0 503\r\nX: y"), Some(503));
        for bad in [
            "",
            "HTTP/1.1",
            "HTTP/1.1 2",
            "HTTP/1.1 abc",
            "HTTP/2 200",
            "220 smtp",
            "HTTP/1.1 -20",
        ] {
            assert_eq!(code(bad.as_bytes()), None, "{bad}");
        }
    }
}
