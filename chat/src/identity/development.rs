//! The development mode: a secret of this machine's own, so that tokens can be made without anybody else.
//!
//! Rule: the secret is kept in a file that only its owner reads, and outlives a restart, so that a token in a terminal does
//! too.

use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, ensure};
use aws_lc_rs::rand;

/// Bytes of the secret before they are written as hex.
const SECRET_BYTES: usize = 32;

/// The secret in this file, which is made when there is none.
///
/// # Errors
/// The file can be neither read nor made, or holds something else.
pub fn development_key(file: &Path) -> anyhow::Result<String> {
    let known = match std::fs::read_to_string(file) {
        Ok(text) => text.trim().to_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return make(file),
        Err(error) => {
            return Err(error)
                .with_context(|| format!("--development-key: cannot read {}", file.display()));
        }
    };
    ensure!(
        known.len() >= SECRET_BYTES,
        "--development-key: expected a secret in {}, found something shorter; remove the file, and another is made",
        file.display()
    );
    Ok(known)
}

fn make(file: &Path) -> anyhow::Result<String> {
    let secret = random_hex::<SECRET_BYTES>()?;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let made = options
        .open(file)
        .and_then(|mut file| writeln!(file, "{secret}"));
    made.with_context(|| {
        format!(
            "--development-key: cannot make {}; name a file that can be written",
            file.display()
        )
    })?;
    Ok(secret)
}

/// So many random bytes, as hex.
///
/// # Errors
/// The system has no randomness.
pub fn random_hex<const BYTES: usize>() -> anyhow::Result<String> {
    let mut bytes = [0; BYTES];
    rand::fill(&mut bytes)
        .ok()
        .context("the system has no randomness")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_outlives_a_restart_and_is_for_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("development.key");
        let first = development_key(&file).unwrap();
        assert_eq!(first.len(), 2 * SECRET_BYTES);
        assert_eq!(development_key(&file).unwrap(), first);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(
                std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
                0o600
            );
        }
        std::fs::write(&file, "short").unwrap();
        development_key(&file).unwrap_err();
    }
}
