//! The names under which other nodes offer files: which of them are accepted here.

use crate::name::is_invisible;

/// Bytes of a name: file systems accept 255, and a prefix must still fit.
const LONGEST: usize = 200;

/// Names that some systems take for devices, whatever follows a dot. Such a system may share the
/// folder.
const DEVICES: [&str; 22] = [
    "con", "prn", "aux", "nul", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8",
    "com9", "lpt1", "lpt2", "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9",
];

/// Whether a name can only mean a file of that name in a folder, and is shown as it is.
pub(super) fn is_plain(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default();
    !name.is_empty()
        && name.len() <= LONGEST
        && !name.starts_with(['.', ' ', '-', '~'])
        && !name.ends_with(['.', ' '])
        && !name.contains(['/', '\\', ':', '*', '?', '"', '<', '>', '|'])
        && !name.chars().any(|c| c.is_control() || is_invisible(c))
        && !DEVICES.contains(&stem.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_could_mean_anything_else_is_not_taken() {
        for good in ["a", "report 2026.pdf", "über.txt", "a..b", "x~"] {
            assert!(is_plain(good), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "../../etc/passwd",
            "/etc/passwd",
            "a/b",
            "a\\b",
            ".bashrc",
            "-rf",
            "a\0b",
            "a\nb",
            "\u{1b}[31m",
            // This one is shown as "invoiceexe.pdf".
            "invoice\u{202e}fdp.exe",
            "a\u{200b}b",
            "a\u{feff}",
            "nul",
            "NUL.txt",
            "Com1",
            "a:b",
            "a.",
            " a",
            &"a".repeat(4_096),
        ] {
            assert!(!is_plain(bad), "{bad:?}");
        }
    }
}
