//! `kenny release ...`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use kenny_proto::MAX_ARTIFACT_BYTES;
use kenny_proto::api::{Release, ReleaseAdded};
use semver::Version;

use crate::ask;
use crate::client::{Client, open_for_upload};
use crate::error::CliError;
use crate::output::{self, Cell, Output, Table, Tone};
use crate::words;

/// `kenny release add`: goes on after a file that fails, unless the server itself is the reason.
pub async fn add(client: &Client, output: Output, files: &[PathBuf]) -> Result<(), CliError> {
    let mut failed = 0;
    for file in files {
        match upload(client, output, file).await {
            Ok(added) if output.json => output::record(&added)?,
            Ok(added) => {
                output::line(&describe(file, &added))?;
                if let Some(warning) = &added.warning {
                    output::note(&format!("Note: {warning}."));
                }
            }
            Err(error) => {
                let server_is_the_reason = matches!(error.exit_code(), 3 | 4);
                if files.len() == 1 || server_is_the_reason {
                    return Err(named(file, error));
                }
                failed += 1;
                output::error(&named(file, error));
            }
        }
    }
    if failed == 0 {
        Ok(())
    } else {
        Err(CliError::Failed(format!("{failed} of {} files were not added", files.len())))
    }
}

/// `kenny release list`.
pub async fn list(client: &Client, output: Output) -> Result<(), CliError> {
    let list = client.releases().await?;
    if output.json {
        return output::document(&list);
    }
    if list.releases.is_empty() {
        output::note("There is no release yet; `kenny release add FILE` adds one.");
        return Ok(());
    }
    output::text(&table(&list.releases, Timestamp::now()).render(output.palette))
}

/// `kenny release remove`.
pub async fn remove(client: &Client, version: &Version, yes: bool) -> Result<(), CliError> {
    let question = format!("This removes release {version} for every platform, with its files.");
    if !ask::confirmed(yes, &question, &version.to_string())? {
        return Err(CliError::Failed(format!("{version} was not removed")));
    }
    client.remove_release(version).await?;
    output::note(&format!("{version} is no release any more."));
    Ok(())
}

async fn upload(client: &Client, output: Output, path: &Path) -> Result<ReleaseAdded, CliError> {
    let (file, size_bytes) = open_for_upload(path).await?;
    if size_bytes > MAX_ARTIFACT_BYTES {
        return Err(CliError::Failed(format!(
            "it has {}, more than the {} that an agent accepts",
            words::size(size_bytes),
            words::size(MAX_ARTIFACT_BYTES)
        )));
    }
    let name = path.file_name().unwrap_or(path.as_os_str()).display().to_string();
    let shown_percent = Arc::new(AtomicU64::new(u64::MAX));
    let terminal = output;
    let progress = move |sent_bytes: u64| {
        let percent = sent_bytes * 100 / size_bytes.max(1);
        if shown_percent.swap(percent, Ordering::Relaxed) != percent {
            let (sent, all) = (words::size(sent_bytes), words::size(size_bytes));
            terminal.passing_note(&format!("uploading {name}  {percent:3} %  {sent} of {all}"));
        }
    };
    let added = client.add_release(file, size_bytes, progress).await;
    output.passing_note("");
    added
}

fn named(file: &Path, error: CliError) -> CliError {
    match error {
        CliError::Refused(mut problem) => {
            problem.detail = format!("{}: {}", file.display(), problem.detail);
            CliError::Refused(problem)
        }
        CliError::Failed(why) => CliError::Failed(format!("{}: {why}", file.display())),
        // These name the file, or the server whose fault it is.
        error @ (CliError::Usage(_)
        | CliError::Unreachable { .. }
        | CliError::NoToken(_)
        | CliError::NotKenny { .. }
        | CliError::TimedOut(_)
        | CliError::File(_)
        | CliError::Output(_)) => error,
    }
}

fn describe(file: &Path, added: &ReleaseAdded) -> String {
    let Release { version, os, arch, size_bytes, .. } = &added.release;
    let what = if added.created { "added" } else { "was there already:" };
    format!("{} {what} {version} for {os} {arch}, {}", file.display(), words::size(*size_bytes))
}

fn table(releases: &[Release], now: Timestamp) -> Table {
    let mut table =
        Table::new(&["VERSION", "OS", "ARCH", "SIZE", "ADDED", "STATE", "SIGNER", "SHA256"]);
    for release in releases {
        table.row([
            (&release.version).into(),
            release.os.as_str().into(),
            release.arch.as_str().into(),
            words::size(release.size_bytes).into(),
            words::ago(release.added_at, now).into(),
            match release.withdrawn_at {
                Some(at) => Cell::new(Tone::Faint, format!("withdrawn {}", words::ago(at, now))),
                None => "-".into(),
            },
            release.signer.as_ref().map_or("-", |signer| &signer.common_name).into(),
            release.sha256.to_string().into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use kenny_proto::api::ReleaseSigner;
    use kenny_proto::{Arch, Os, Sha256Digest};

    use super::*;
    use crate::output::Palette;

    fn release() -> Release {
        Release {
            version: "1.4.0".to_owned(),
            os: Os::Windows,
            arch: Arch::X86_64,
            sha256: Sha256Digest([0xab; 32]),
            size_bytes: 5_300_000,
            added_at: Timestamp::UNIX_EPOCH,
            signer: None,
            withdrawn_at: None,
        }
    }

    #[test]
    fn releases_are_listed() {
        let signer = ReleaseSigner {
            common_name: "Anna Ltd".to_owned(),
            certificate_sha256: Sha256Digest([1; 32]),
        };
        let signed = Release { signer: Some(signer), ..release() };
        let withdrawn =
            Release { withdrawn_at: Some(Timestamp::from_second(3600).unwrap()), ..release() };
        let text = table(&[signed, withdrawn], Timestamp::from_second(7200).unwrap());
        assert_eq!(
            text.render(Palette { coloured: false }),
            format!(
                "VERSION  OS       ARCH    SIZE    ADDED    STATE              SIGNER    SHA256\n\
                 1.4.0    windows  x86_64  5.3 MB  2 h ago  -                  Anna Ltd  {0}\n\
                 1.4.0    windows  x86_64  5.3 MB  2 h ago  withdrawn 1 h ago  -         {0}\n",
                "ab".repeat(32)
            )
        );
    }

    #[test]
    fn an_upload_says_what_the_file_turned_out_to_be() {
        let mut added = ReleaseAdded { release: release(), created: true, warning: None };
        let file = Path::new("a.exe");
        assert_eq!(describe(file, &added), "a.exe added 1.4.0 for windows x86_64, 5.3 MB");
        added.created = false;
        assert_eq!(
            describe(file, &added),
            "a.exe was there already: 1.4.0 for windows x86_64, 5.3 MB"
        );
    }
}
