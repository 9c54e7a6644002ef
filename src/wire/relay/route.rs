//! The addresses of members at a relay.

use crate::entropy::Entropy;
use crate::wire::Malformed;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use std::fmt;

/// Characters of a route.
pub(super) const ROUTE: usize = 16;

/// The address of one link at a relay, drawn at random. It is kept as the text that is on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Route([u8; ROUTE]);

impl Default for Route {
    /// A route that no relay draws, but by a chance of one in 2^96.
    fn default() -> Route {
        Route([b'A'; ROUTE])
    }
}

impl Route {
    /// Draws a new route.
    pub fn draw(entropy: &mut dyn Entropy) -> Route {
        let mut bytes = [0; ROUTE / 4 * 3];
        entropy.fill(&mut bytes);
        let mut text = [b'A'; ROUTE];
        let encoded = URL_SAFE.encode_slice(bytes, &mut text);
        debug_assert_eq!(encoded, Ok(ROUTE));
        Route(text)
    }

    pub(super) fn parse(text: &[u8]) -> Result<Route, Malformed> {
        let text: [u8; ROUTE] = text.try_into().map_err(|_| Malformed)?;
        let fits = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        if text.iter().all(fits) {
            Ok(Route(text))
        } else {
            Err(Malformed)
        }
    }

    /// The route as text.
    pub fn as_bytes(&self) -> &[u8; ROUTE] {
        &self.0
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..6].escape_ascii().fmt(f)
    }
}
