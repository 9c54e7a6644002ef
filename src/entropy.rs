//! The source of unpredictable bytes. All code that needs some takes a source as an argument, so
//! that a test can replay a seed.

use crate::error::Error;
use std::fmt;
use std::time::Duration;
use zeroize::Zeroize;

/// A source of unpredictable bytes.
pub trait Entropy: Send {
    /// Fills `out`.
    fn fill(&mut self, out: &mut [u8]);

    /// An array of unpredictable bytes.
    fn array<const N: usize>(&mut self) -> [u8; N]
    where
        Self: Sized,
    {
        let mut out = [0; N];
        self.fill(&mut out);
        out
    }

    /// A number in `0..1000`.
    fn per_mille(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.fill(&mut bytes);
        u32::from_be_bytes(bytes) % 1_000
    }

    /// `time`, shortened or lengthened by up to a tenth, so that nodes that were started together
    /// drift apart.
    fn jitter(&mut self, time: Duration) -> Duration {
        time * (900 + self.per_mille() / 5) / 1_000
    }
}

/// Bytes that are taken from the kernel at once: 64 IVs for a system call.
const STOCK: usize = 1_024;

/// The kernel's generator. Bytes are drawn from it in stocks, so that a token costs no system call.
/// Bytes that were handed out are wiped from the stock.
pub struct OsEntropy {
    stock: [u8; STOCK],
    used: usize,
}

impl OsEntropy {
    /// A source with a first stock. It is an error if the kernel offers no generator.
    pub fn new() -> Result<OsEntropy, Error> {
        let mut source = OsEntropy {
            stock: [0; STOCK],
            used: 0,
        };
        draw(&mut source.stock)?;
        Ok(source)
    }
}

fn draw(out: &mut [u8]) -> Result<(), Error> {
    getrandom::fill(out).map_err(|e| Error::Io {
        doing: "reading the kernel's random source",
        kind: std::io::ErrorKind::Other,
        text: e.to_string(),
    })
}

impl Entropy for OsEntropy {
    fn fill(&mut self, mut out: &mut [u8]) {
        while !out.is_empty() {
            if self.used == STOCK {
                // It worked at start. A kernel that stops offering randomness leaves nothing safe
                // to do: a repeated IV would be a silent leak.
                #[expect(clippy::expect_used)]
                draw(&mut self.stock).expect("the kernel's random source worked at start");
                self.used = 0;
            }
            let n = out.len().min(STOCK - self.used);
            let (now, later) = out.split_at_mut(n);
            let source = &mut self.stock[self.used..self.used + n];
            now.copy_from_slice(source);
            source.zeroize();
            self.used += n;
            out = later;
        }
    }
}

impl Drop for OsEntropy {
    fn drop(&mut self) {
        self.stock.zeroize();
    }
}

impl fmt::Debug for OsEntropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OsEntropy(..)")
    }
}

/// Bytes that count up, for unit tests: what is drawn differs and can be predicted.
#[cfg(test)]
pub(crate) struct Counting(pub(crate) u8);

#[cfg(test)]
impl Entropy for Counting {
    fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            self.0 = self.0.wrapping_add(1);
            *byte = self.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_stock_is_handed_out_twice() {
        let mut source = OsEntropy::new().unwrap();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..1_000 {
            assert!(seen.insert(source.array::<24>()));
        }
    }
}
