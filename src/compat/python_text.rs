//! What a Python node would print: PeerBase 0.7.1 answers `__echo__` with such a text.

use std::fmt::Write;

/// A JSON text as Python's `repr` writes its value. Not through a [`serde_json::Value`], whose
/// numbers would bring 30 KiB of tables into a C program, and whose order is not the sender's.
pub(super) fn repr(json: &str, out: &mut String) {
    let mut rest = json;
    while let Some(c) = rest.chars().next() {
        let size = match c {
            '"' => {
                let size = string_size(rest);
                repr_text(
                    &serde_json::from_str::<String>(&rest[..size]).unwrap_or_default(),
                    out,
                );
                size
            }
            ',' | ':' => {
                out.push(c);
                out.push(' ');
                1
            }
            't' | 'f' | 'n' => {
                let size = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
                out.push_str(match c {
                    't' => "True",
                    'f' => "False",
                    _ => "None",
                });
                size
            }
            _ => {
                if !c.is_ascii_whitespace() {
                    out.push(c);
                }
                c.len_utf8()
            }
        };
        rest = &rest[size..];
    }
}

/// Bytes of the string that a JSON text begins with.
fn string_size(json: &str) -> usize {
    let mut escaped = false;
    let end = json.bytes().skip(1).position(|b| {
        let closes = b == b'"' && !escaped;
        escaped = b == b'\\' && !escaped;
        closes
    });
    end.map_or(json.len(), |at| at + 2)
}

fn repr_text(text: &str, out: &mut String) {
    let quote = match text.contains('\'') && !text.contains('"') {
        true => '"',
        false => '\'',
    };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_ascii_control() => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push(quote);
}

/// A moment as C's `ctime` writes it, in UTC: "Sat Nov 21 16:41:30 2026".
pub(super) fn ctime(unix: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let days = unix / 86_400;
    let (hour, minute, second) = (unix / 3_600 % 24, unix / 60 % 60, unix % 60);
    // Counted from the first of March of the year 0, so that a leap day is the last of its year
    // (H. Hinnant, "chrono-compatible low-level date algorithms", civil_from_days).
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = (from_march + 2) % 12;
    let year = year_of_era + era * 400 + u64::from(month < 2);
    format!(
        "{} {} {day:>2} {hour:02}:{minute:02}:{second:02} {year}",
        DAYS[(days % 7) as usize],
        MONTHS[month as usize]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_as_python_prints_them() {
        let mut out = String::new();
        let json =
            r#"[1, 2.50,null, true,false, "it's", "a\"'b", "\u00e9\n\\\u0001" ,{"k": [],"":-1e5}]"#;
        repr(json, &mut out);
        assert_eq!(
            out,
            r#"[1, 2.50, None, True, False, "it's", 'a"\'b', 'é\n\\\x01', {'k': [], '': -1e5}]"#
        );
    }

    #[test]
    fn moments_as_c_prints_them() {
        assert_eq!(ctime(0), "Thu Jan  1 00:00:00 1970");
        assert_eq!(ctime(951_782_399), "Mon Feb 28 23:59:59 2000");
        assert_eq!(ctime(951_782_400), "Tue Feb 29 00:00:00 2000");
        assert_eq!(ctime(1_795_279_290), "Sat Nov 21 16:41:30 2026");
    }
}
