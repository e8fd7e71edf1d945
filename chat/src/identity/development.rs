//! The development mode: a secret of this machine's own, so that tokens can be made without anybody else.
//!
//! Rules: the secret is kept in a file that only its owner reads, and outlives a restart, so that a token in a terminal does
//! too; those that start together have the same one.

use std::io::{ErrorKind, Write as _};
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
    let cannot_read = || format!("--development-key: cannot read {}", file.display());
    let known = match std::fs::read_to_string(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            make(file)?;
            // Whoever came first has made it.
            std::fs::read_to_string(file)
        }
        known => known,
    };
    let known = known.with_context(cannot_read)?.trim().to_owned();
    ensure!(
        known.len() >= SECRET_BYTES,
        "--development-key: expected a secret in {}, found something shorter; remove the file, and another is made",
        file.display()
    );
    Ok(known)
}

/// Makes the file, unless somebody else does so at the same time; nobody sees a part of it.
fn make(file: &Path) -> anyhow::Result<()> {
    let secret = random_hex::<SECRET_BYTES>()?;
    let mut beside = file.as_os_str().to_owned();
    beside.push(format!(".{}", random_hex::<4>()?));
    let beside = Path::new(&beside);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options
        .open(beside)
        .and_then(|mut beside| writeln!(beside, "{secret}"));
    let made = match written.and_then(|()| std::fs::hard_link(beside, file)) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made,
    };
    // It was there for a moment alone; if it stays, it is as secret as the file.
    let _ = std::fs::remove_file(beside);
    made.with_context(|| {
        format!(
            "--development-key: cannot make {}; name a file that can be written",
            file.display()
        )
    })
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

    #[test]
    fn those_that_start_together_have_the_same() {
        for _ in 0..50 {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("development.key");
            let start = std::sync::Barrier::new(4);
            let made = std::thread::scope(|scope| {
                let makers = [(); 4].map(|()| {
                    scope.spawn(|| {
                        start.wait();
                        development_key(&file).unwrap()
                    })
                });
                makers.map(|maker| maker.join().unwrap())
            });
            assert!(made.iter().all(|key| *key == made[0]));
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        }
    }
}
