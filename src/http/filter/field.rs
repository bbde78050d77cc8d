//! The fields that a filter can name and `--fields` can write: one table, by the names of the JSON log.

/// What the values of a field are, and so what they can be compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A text; upper and lower case differ.
    Text,
    /// A host: case does not count, nor a port unless the pattern has one.
    Host,
    /// A version of HTTP.
    Version,
    /// Names of flags.
    Flags,
    /// `true` or `false`.
    Truth,
    /// Only `failed`.
    Is,
    /// An address; a client or server also with its port.
    Address,
    /// A number.
    Number,
    /// A status of HTTP.
    Status,
    /// A status of gRPC.
    GrpcStatus,
    /// Bytes.
    Size,
    /// Microseconds.
    Time,
    /// A moment, in microseconds since the Unix epoch.
    Moment,
}

/// Lines in which a field may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lines {
    /// Of transactions.
    Transactions,
    /// Of TLS connections.
    Tls,
    /// Of both.
    Both,
}

macro_rules! names {
    ($($name:ident = $text:literal $kind:ident $lines:ident;)+) => {
        /// A field with a fixed name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Name {
            $(#[doc = concat!("`", $text, "`")] $name,)+
        }

        /// Every field with its name, in the order in which they are listed for people.
        pub const ALL: &[(Name, &str)] = &[$((Name::$name, $text)),+];

        impl Name {
            /// What its values are.
            #[must_use]
            pub const fn kind(self) -> Kind {
                match self {
                    $(Self::$name => Kind::$kind,)+
                }
            }

            /// Where it stands.
            #[must_use]
            pub const fn lines(self) -> Lines {
                match self {
                    $(Self::$name => Lines::$lines,)+
                }
            }

            /// Its name.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }
        }
    };
}

names! {
    Method = "method" Text Transactions;
    Status = "status" Status Transactions;
    Host = "host" Host Both;
    Path = "path" Text Transactions;
    Target = "target" Text Transactions;
    Route = "route" Text Transactions;
    Client = "client" Address Both;
    Server = "server" Address Both;
    ClientForwarded = "client_forwarded" Address Transactions;
    ClientProcess = "client_process" Text Both;
    ClientPid = "client_process.pid" Number Both;
    ClientContainer = "client_process.container" Text Both;
    ClientPod = "client_process.pod" Text Both;
    ServerProcess = "server_process" Text Both;
    ServerPid = "server_process.pid" Number Both;
    ServerContainer = "server_process.container" Text Both;
    ServerPod = "server_process.pod" Text Both;
    Duration = "duration_us" Time Both;
    Ttfb = "ttfb_us" Time Transactions;
    Flags = "flags" Flags Transactions;
    Is = "is" Is Transactions;
    Version = "version" Version Transactions;
    GrpcService = "grpc_service" Text Transactions;
    GrpcMethod = "grpc_method" Text Transactions;
    GrpcStatus = "grpc_status" GrpcStatus Transactions;
    GrpcMessage = "grpc_message" Text Transactions;
    GrpcTimeout = "grpc_timeout_us" Time Transactions;
    GrpcRequestMessages = "grpc_request_messages" Number Transactions;
    GrpcResponseMessages = "grpc_response_messages" Number Transactions;
    UserAgent = "user_agent" Text Transactions;
    Referer = "referer" Text Transactions;
    Reason = "reason" Text Both;
    Ts = "ts" Moment Both;
    Interface = "interface" Text Both;
    ClientPort = "client_port" Number Both;
    ServerPort = "server_port" Number Both;
    RequestBody = "request_body_bytes" Size Transactions;
    ResponseBody = "response_body_bytes" Size Transactions;
    RequestDecoded = "request_body_decoded_bytes" Size Transactions;
    ResponseDecoded = "response_body_decoded_bytes" Size Transactions;
    RequestText = "request_body" Text Transactions;
    ResponseText = "response_body" Text Transactions;
    RequestTruncated = "request_body_truncated" Truth Transactions;
    ResponseTruncated = "response_body_truncated" Truth Transactions;
    RequestUndecoded = "request_body_undecoded" Text Transactions;
    ResponseUndecoded = "response_body_undecoded" Text Transactions;
    RequestHead = "request_head_bytes" Size Transactions;
    ResponseHead = "response_head_bytes" Size Transactions;
    Lost = "lost_bytes" Size Transactions;
    Conn = "conn" Text Both;
    Seq = "seq" Number Transactions;
    Protocol = "protocol" Text Transactions;
    Operation = "operation" Text Transactions;
    Outcome = "outcome" Text Transactions;
    Error = "error" Text Transactions;
    Stream = "stream" Number Transactions;
    Scheme = "scheme" Text Transactions;
    StreamError = "stream_error" Number Transactions;
    Interim = "interim" Number Transactions;
    Tunnel = "tunnel" Text Transactions;
    Via = "via" Text Transactions;
    ViaConn = "via_conn" Text Transactions;
    ViaTarget = "via_target" Text Transactions;
    Proxy = "proxy" Address Transactions;
    ProxyPort = "proxy_port" Number Transactions;
    TlsVersion = "tls.version" Text Both;
    TlsCipher = "tls.cipher" Text Both;
    TlsSni = "tls.sni" Host Both;
    TlsAlpn = "tls.alpn" Text Both;
    TlsResumed = "tls.resumed" Truth Both;
    TlsJa4 = "tls.ja4" Text Both;
    CommunityId = "community_id" Text Both;
    TraceId = "trace_id" Text Transactions;
    ParentId = "parent_id" Text Transactions;
    Established = "established" Truth Tls;
    Decrypted = "decrypted" Truth Tls;
    Alert = "alert" Text Tls;
    Ech = "ech" Truth Tls;
    ClientBytes = "client_bytes" Size Tls;
    ServerBytes = "server_bytes" Size Tls;
}

impl Name {
    /// Whether it is there only where bodies are kept.
    #[must_use]
    pub const fn is_of_body(self) -> bool {
        matches!(
            self,
            Self::RequestText
                | Self::ResponseText
                | Self::RequestTruncated
                | Self::ResponseTruncated
                | Self::RequestUndecoded
                | Self::ResponseUndecoded
        )
    }
}

/// Shorter names, and names that the page has always had.
pub const ALIASES: &[(&str, Name)] = &[
    ("duration", Name::Duration),
    ("ttfb", Name::Ttfb),
    ("wait", Name::Ttfb),
    ("sent", Name::RequestBody),
    ("received", Name::ResponseBody),
    ("flag", Name::Flags),
    ("connection", Name::Conn),
    ("sni", Name::TlsSni),
    ("client_process.command", Name::ClientProcess),
    ("server_process.command", Name::ServerProcess),
];

/// What stands before the name of a header, of a request and of a response.
pub const HEADERS: [&str; 2] = ["request_headers.", "response_headers."];

/// A field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// One with a fixed name.
    Named(Name),
    /// The values of a header.
    Header {
        /// Whether it is the request's.
        of_request: bool,
        /// Its name in lower case.
        name: Box<str>,
    },
}

impl Field {
    /// The field of a name, in whatever case.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let found = ALL.iter().map(|(name, text)| (*text, *name)).chain(ALIASES.iter().copied());
        if let Some((_, name)) = found.into_iter().find(|(known, _)| *known == text) {
            return Some(Self::Named(name));
        }
        HEADERS.iter().zip([true, false]).find_map(|(prefix, of_request)| {
            let name = text.strip_prefix(prefix).filter(|name| !name.is_empty())?;
            Some(Self::Header { of_request, name: name.into() })
        })
    }

    /// What its values are.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Named(name) => name.kind(),
            Self::Header { .. } => Kind::Text,
        }
    }

    /// Where it stands.
    #[must_use]
    pub const fn lines(&self) -> Lines {
        match self {
            Self::Named(name) => name.lines(),
            Self::Header { .. } => Lines::Transactions,
        }
    }

    /// Its name.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Named(name) => name.text().to_owned(),
            Self::Header { of_request, name } => {
                let [request, response] = HEADERS;
                format!("{}{name}", if *of_request { request } else { response })
            }
        }
    }
}

/// The names of all fields, for people.
#[must_use]
pub fn listed() -> String {
    let names: Vec<&str> = ALL.iter().map(|(_, name)| *name).collect();
    format!("{}, {}NAME or {}NAME", names.join(", "), HEADERS[0], HEADERS[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_a_field_and_no_two_are_the_same() {
        for (at, (name, text)) in ALL.iter().enumerate() {
            assert_eq!(Field::of(&text.to_uppercase()), Some(Field::Named(*name)));
            assert!(ALL[..at].iter().all(|(_, other)| other != text) && name.text() == *text);
        }
        for (alias, name) in ALIASES {
            assert_eq!(Field::of(alias), Some(Field::Named(*name)));
            assert!(ALL.iter().all(|(_, text)| text != alias));
        }
        let header = Field::of("Response_Headers.X-Cache").unwrap();
        assert_eq!(header, Field::Header { of_request: false, name: "x-cache".into() });
        assert_eq!((header.text().as_str(), header.kind()), ("response_headers.x-cache", Kind::Text));
        assert_eq!([Field::of(""), Field::of("x-cache"), Field::of("request_headers.")], [None, None, None]);
    }
}
