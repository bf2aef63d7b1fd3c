//! How many tries were made for an answer.

use std::error::Error;
use std::iter;
use std::net::SocketAddr;

use http::{HeaderMap, HeaderValue, Response};
use outrigger_core::{BoxError, MAX_ATTEMPT, header};
use outrigger_retry::guard;

use crate::server;

/// The error of a request for which more than one try was made; the last try's is its source.
#[derive(Debug, thiserror::Error)]
#[error("{tries} tries were made")]
#[non_exhaustive]
pub struct AfterTries {
    /// How many, 2 or more.
    pub tries: u8,
    /// What ended the last.
    #[source]
    pub last: BoxError,
}

impl AfterTries {
    pub(crate) fn wrap(tries: u8, last: BoxError) -> BoxError {
        if tries > 1 { Box::new(Self { tries, last }) } else { last }
    }

    /// Tries made for an error, whatever other layers have wrapped around it; 1 if nobody says.
    #[must_use]
    pub fn count(error: &(dyn Error + 'static)) -> u8 {
        let mut chain = iter::successors(Some(error), |&e| e.source());
        chain.find_map(|e| e.downcast_ref::<Self>()).map_or(1, |after| after.tries)
    }
}

/// In a response's extensions: the tries made for it by us. Absent means one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TriesMade(pub u8);

/// In the extensions of a response that is no success: the endpoint that gave it, so that another
/// try goes elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServedBy(pub SocketAddr);

/// Tells whoever is told of it how many tries were made by us, `again` of them after the first.
#[inline]
pub(crate) fn tell<B>(
    result: Result<Response<B>, BoxError>,
    again: u8,
) -> Result<Response<B>, BoxError> {
    match result {
        Ok(mut response) => {
            // What was tried below matters to whoever is served by this call, and to the sum.
            if again > 0 || server::is_serving() {
                let all = guard::read_tries(response.headers()).saturating_add(again);
                if again > 0 {
                    write(response.headers_mut(), all);
                    response.extensions_mut().insert(TriesMade(again + 1));
                }
                server::note_tries(all);
            }
            Ok(response)
        }
        Err(error) => {
            server::note_tries(again + 1);
            Err(AfterTries::wrap(again + 1, error))
        }
    }
}

/// Says in a response's head that more than one try was made for it.
pub(crate) fn write(headers: &mut HeaderMap, tries: u8) {
    if tries > 1 {
        headers.insert(header::ATTEMPTS, small_number(tries));
    }
}

/// A number up to 99 as a header value, without an allocation.
pub(crate) fn small_number(number: u8) -> HeaderValue {
    const ONES: &str = "0123456789";
    const TENS: &str = "101112131415161718192021222324252627282930313233343536373839404142434445\
                        464748495051525354555657585960616263646566676869707172737475767778798081\
                        828384858687888990919293949596979899";
    let number = usize::from(number.min(MAX_ATTEMPT));
    let text = if number < 10 { &ONES[number..=number] } else { &TENS[2 * (number - 10)..][..2] };
    HeaderValue::from_static(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_small_number_is_written_as_it_reads() {
        for number in 0..=u8::MAX {
            assert_eq!(small_number(number), number.min(99).to_string());
        }
    }

    #[test]
    fn tries_are_found_through_what_wraps_them() {
        let error = AfterTries::wrap(3, "reset".into());
        assert_eq!(AfterTries::count(&*error), 3);
        let single = AfterTries::wrap(1, "reset".into());
        assert_eq!(AfterTries::count(&*single), 1);
        assert_eq!(single.to_string(), "reset", "one try needs no mention");
    }
}
