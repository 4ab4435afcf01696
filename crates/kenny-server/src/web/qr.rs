//! QR codes, drawn as one path: dark on light in either theme, as cameras want them.

use std::fmt::Write as _;

use maud::{Markup, html};
use qrcodegen::{QrCode, QrCodeEcc};

/// Modules around the code that stay light (ISO 18004).
const QUIET: i32 = 4;

/// The code of a text, or nothing where it is too long for one: it stands beside as text anyway. `label` says what it is.
pub fn code(text: &str, label: &str) -> Markup {
    let Ok(code) = QrCode::encode_text(text, QrCodeEcc::Medium) else { return html! {} };
    let whole = code.size() + 2 * QUIET;
    html! {
        svg.qr viewBox={"0 0 " (whole) " " (whole)} role="img" aria-label=(label) shape-rendering="crispEdges" {
            rect.light width=(whole) height=(whole) {}
            path.dark d=(path(&code)) {}
        }
    }
}

/// Each run of dark modules of a line as a rectangle.
fn path(code: &QrCode) -> String {
    let mut path = String::new();
    for y in 0..code.size() {
        let mut x = 0;
        while x < code.size() {
            let begin = x;
            while code.get_module(x, y) {
                x += 1;
            }
            if x > begin {
                let width = x - begin;
                let _ = write!(path, "M{} {}h{width}v1h-{width}z", begin + QUIET, y + QUIET);
            }
            x += 1;
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dark_module_is_in_the_path_once() {
        let code =
            QrCode::encode_text("https://kenny.example/invite/ABCD", QrCodeEcc::Medium).unwrap();
        let path = path(&code);
        let drawn: i32 = path
            .split('h')
            .filter_map(|part| {
                part.split_once("v1").map(|(width, _)| width.parse::<i32>().unwrap())
            })
            .sum();
        let size = code.size();
        let dark = (0..size * size).filter(|at| code.get_module(at % size, at / size)).count();
        assert_eq!(usize::try_from(drawn).unwrap(), dark);
        // The finder in the upper left corner.
        assert!(path.starts_with("M4 4h7v1h-7z"), "{path}");
    }

    #[test]
    fn a_text_that_is_too_long_has_no_code() {
        assert_eq!(code(&"x".repeat(5000), "x").into_string(), "");
    }
}
