//! A label's values are a closed set, whatever the wire holds, and a value that is unknown is an absent label.

use crate::http::flags::Flags;

/// Stands for every value beyond a closed set, as OpenTelemetry has it.
pub const OTHER: &str = "_OTHER";

/// Methods that are distinguished: OpenTelemetry's known set.
const METHODS: [&str; 10] = ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"];

/// Status codes that are distinguished: IANA's registry, and what well-known servers add (nginx, IIS, Cloudflare, AWS).
/// A closed set, since a stranger may send 900 different ones.
const STATUSES: [u16; 97] = [
    100, 101, 102, 103, 104, 200, 201, 202, 203, 204, 205, 206, 207, 208, 218, 226, 300, 301, 302, 303, 304, 305, 306,
    307, 308, 400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 418, 419, 420,
    421, 422, 423, 424, 425, 426, 428, 429, 430, 431, 440, 444, 449, 450, 451, 460, 463, 464, 494, 495, 496, 497, 498,
    499, 500, 501, 502, 503, 504, 505, 506, 507, 508, 509, 510, 511, 520, 521, 522, 523, 524, 525, 526, 527, 529, 530,
    540, 561, 598, 599, 783,
];

/// How transactions ended: `picotap_transactions_total{outcome}`.
pub(super) const OUTCOMES: [&str; 5] = ["complete", "no_response", "no_request", "tunnel", "cut"];
const NO_RESPONSE: usize = 1;

/// Why there is no response, as `error_type` says it, where picotap saw how the connection ended. The first that a
/// transaction bears counts.
const ERRORS: [(Flags, &str); 3] =
    [(Flags::TIMEOUT, "timeout"), (Flags::RESET, "reset"), (Flags::NO_RESPONSE, "no_response")];

/// What a request was answered with: an index in [`STATUSES`], or beyond it one of these.
const OTHER_STATUS: usize = STATUSES.len();
/// A status that is not distinguished and that is an error of the server.
const OTHER_ERROR: usize = OTHER_STATUS + 1;
/// No response was seen, and that is no error that is known of: picotap did not see how it ended.
const UNKNOWN: usize = OTHER_ERROR + 1;
/// Here [`ERRORS`] begin.
const UNANSWERED: usize = UNKNOWN + 1;

/// Index in [`OUTCOMES`].
pub(super) fn outcome(flags: Flags) -> usize {
    const CUT: [Flags; 6] =
        [Flags::OPEN, Flags::FAULT, Flags::OVERFLOW, Flags::TRUNCATED, Flags::EVICTED, Flags::RESPONSE_UNREAD];
    match flags {
        flags if flags.intersects(Flags::TUNNEL) => 3,
        flags if CUT.iter().any(|cut| flags.intersects(*cut)) => 4,
        flags if flags.intersects(Flags::NO_REQUEST) => 2,
        flags if flags.intersects(Flags::NO_RESPONSE) => NO_RESPONSE,
        _ => 0,
    }
}

/// Number of a method. One that was not seen is unknown, for which OpenTelemetry, which requires the label, has [`OTHER`].
pub(super) fn method(method: Option<&[u8]>) -> u8 {
    let known = |method| METHODS.iter().position(|known| known.as_bytes() == method);
    small(method.and_then(known).unwrap_or(METHODS.len()))
}

/// The value of `http_request_method` for the number of a method.
pub(super) fn method_label(method: u8) -> &'static str {
    METHODS.get(usize::from(method)).copied().unwrap_or(OTHER)
}

/// Number of what a request was answered with.
pub(super) fn answer(status: u16, flags: Flags) -> u8 {
    small(match status {
        0 if outcome(flags) == NO_RESPONSE => {
            let error = ERRORS.iter().position(|(flag, _)| flags.intersects(*flag));
            error.map_or(UNKNOWN, |error| UNANSWERED + error)
        }
        0 => UNKNOWN,
        status => {
            let other = if status / 100 == 5 { OTHER_ERROR } else { OTHER_STATUS };
            STATUSES.binary_search(&status).unwrap_or(other)
        }
    })
}

/// The values of `http_response_status_code` and `error_type` for what a request was answered with. Empty: there is no such
/// label. As OpenTelemetry has it, there is no status without a response, and a status is an error of the server if it is
/// 5xx.
pub(super) fn answer_labels(answer: u8) -> (String, String) {
    let none = String::new;
    match usize::from(answer) {
        OTHER_STATUS => (OTHER.to_owned(), none()),
        OTHER_ERROR => (OTHER.to_owned(), OTHER.to_owned()),
        UNKNOWN => (none(), none()),
        number => match STATUSES.get(number) {
            Some(status) => (status.to_string(), if status / 100 == 5 { status.to_string() } else { none() }),
            None => (none(), ERRORS.get(number - UNANSWERED).map_or_else(none, |(_, name)| (*name).to_owned())),
        },
    }
}

/// All sets have fewer than 255 members.
fn small(index: usize) -> u8 {
    u8::try_from(index).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_sets_are_in_order() {
        assert!(STATUSES.is_sorted_by(|a, b| a < b) && METHODS.is_sorted());
        // deploy/OPERATORS.md and deploy/prometheus/prometheus.yml say how many series there may be.
        assert_eq!((METHODS.len() + 1) * (UNANSWERED + ERRORS.len()), 1133);
    }

    #[test]
    fn a_status_is_an_error_if_it_is_the_server_s() {
        let labels = |status, flags| {
            let (code, error) = answer_labels(answer(status, flags));
            format!("{code}|{error}")
        };
        let none = Flags::empty();
        assert_eq!([200, 404, 599, 783].map(|status| labels(status, none)), ["200|", "404|", "599|599", "783|"]);
        assert_eq!([299, 555, 999].map(|status| labels(status, none)), ["_OTHER|", "_OTHER|_OTHER", "_OTHER|"]);
        assert_eq!(labels(0, Flags::OPEN | Flags::NO_RESPONSE), "|", "the capture ended: nobody knows");
        assert_eq!(labels(0, Flags::NO_RESPONSE), "|no_response");
        assert_eq!(labels(0, Flags::NO_RESPONSE | Flags::RESET), "|reset");
        assert_eq!(labels(0, Flags::NO_RESPONSE | Flags::TIMEOUT), "|timeout");
    }
}
