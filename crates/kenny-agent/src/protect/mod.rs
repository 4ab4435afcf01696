//! Who may write where the agent lies. What the service manager starts as SYSTEM, and all that it reads, must be out of
//! reach of ordinary accounts: folders get their access list as they are made, and what others prepared is refused.

mod rights;
#[cfg_attr(windows, path = "windows.rs")]
#[cfg_attr(not(windows), path = "elsewhere.rs")]
mod system;

use std::io;
use std::path::Path;

pub use rights::{Access, Entry, Of, Verdict, account, is_made_up, is_trusted, judge};
pub use system::{create_as_private_as, create_private, folder, look};

/// What a folder is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Programs: everybody reads and runs, administrators write.
    Programs,
    /// State and secrets: administrators alone.
    Private,
}

impl Purpose {
    /// Owner and access list of a folder, as SDDL: SYSTEM and Administrators have all rights, Users read and run
    /// (`0x1200a9`) where they may. Nothing is inherited from above.
    pub const fn sddl(self) -> &'static str {
        match self {
            Self::Programs => "O:BAG:SYD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1200a9;;;BU)",
            Self::Private => "O:BAG:SYD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)",
        }
    }
}

/// The access list of a file that holds a secret, as SDDL.
pub const PRIVATE_FILE: &str = "D:P(A;;FA;;;SY)(A;;FA;;;BA)";

/// Whether an ordinary account could put another program in an executable's place: by its own access list, by that of its
/// folder, or by that of a folder above.
pub fn who_may_replace(executable: &Path) -> io::Result<Verdict> {
    let mut verdict = judge(&look(executable)?, Of::File);
    let folder = executable.parent().unwrap_or(executable);
    for (depth, folder) in folder.ancestors().enumerate() {
        let of = if depth == 0 { Of::Folder } else { Of::Above };
        verdict = verdict.and(judge(&look(folder)?, of));
    }
    Ok(verdict)
}
