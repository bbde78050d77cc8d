-- The table that vector.yaml writes to: one row per transaction, a day per partition.
--
-- Rows are kept until you drop them: `ts` is the time of capture, and a time to live that counts from it would delete an archive
-- of old captures as soon as it is read in. To keep rows for 30 days after they were inserted:
--
--   ALTER TABLE picotap.transactions MODIFY TTL inserted + INTERVAL 30 DAY;
--
-- A day is dropped as a whole, once its last row is old enough (ttl_only_drop_parts).
CREATE DATABASE IF NOT EXISTS picotap;

CREATE TABLE IF NOT EXISTS picotap.transactions
(
    ts DateTime64(6, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    inserted DateTime DEFAULT now() CODEC(DoubleDelta, ZSTD(1)),
    node LowCardinality(String),
    interface LowCardinality(String) DEFAULT '',
    sensor LowCardinality(String) DEFAULT '',
    conn String CODEC(ZSTD(1)),
    seq UInt32 CODEC(ZSTD(1)),
    client IPv6,
    client_port UInt16,
    server IPv6,
    server_port UInt16,
    client_forwarded Nullable(IPv6),
    client_process Tuple(command LowCardinality(String), pid UInt32, container LowCardinality(String), pod LowCardinality(String)),
    server_process Tuple(command LowCardinality(String), pid UInt32, container LowCardinality(String), pod LowCardinality(String)),
    protocol LowCardinality(String) DEFAULT '',
    operation LowCardinality(String) DEFAULT '',
    outcome LowCardinality(String) DEFAULT '',
    error LowCardinality(String) DEFAULT '',
    method LowCardinality(String) DEFAULT '',
    target String DEFAULT '' CODEC(ZSTD(3)),
    route LowCardinality(String) DEFAULT '',
    version LowCardinality(String) DEFAULT '',
    stream Nullable(UInt32),
    scheme LowCardinality(String) DEFAULT '',
    host LowCardinality(String) DEFAULT '',
    user_agent String DEFAULT '' CODEC(ZSTD(3)),
    referer String DEFAULT '' CODEC(ZSTD(3)),
    status UInt16 DEFAULT 0,
    reason LowCardinality(String) DEFAULT '',
    stream_error Nullable(UInt32),
    grpc_service LowCardinality(String) DEFAULT '',
    grpc_method LowCardinality(String) DEFAULT '',
    grpc_status Nullable(UInt16),
    grpc_message String DEFAULT '' CODEC(ZSTD(1)),
    grpc_timeout_us Nullable(UInt64),
    grpc_request_messages Nullable(UInt32),
    grpc_response_messages Nullable(UInt32),
    request_body_bytes Nullable(UInt64),
    response_body_bytes Nullable(UInt64),
    request_body_decoded_bytes Nullable(UInt64),
    response_body_decoded_bytes Nullable(UInt64),
    request_head_bytes Nullable(UInt32),
    response_head_bytes Nullable(UInt32),
    lost_bytes UInt64 DEFAULT 0,
    ttfb_us Nullable(UInt64),
    duration_us Nullable(UInt64),
    interim UInt16 DEFAULT 0,
    tunnel LowCardinality(String) DEFAULT '',
    via LowCardinality(String) DEFAULT '',
    via_conn String DEFAULT '' CODEC(ZSTD(1)),
    via_target String DEFAULT '' CODEC(ZSTD(1)),
    proxy Nullable(IPv6),
    proxy_port UInt16 DEFAULT 0,
    tls Tuple(version LowCardinality(String), cipher LowCardinality(String), sni LowCardinality(String), alpn LowCardinality(String), resumed Bool, ja4 LowCardinality(String)),
    request_body String DEFAULT '' CODEC(ZSTD(3)),
    request_body_truncated Bool DEFAULT false,
    request_body_undecoded LowCardinality(String) DEFAULT '',
    response_body String DEFAULT '' CODEC(ZSTD(3)),
    response_body_truncated Bool DEFAULT false,
    response_body_undecoded LowCardinality(String) DEFAULT '',
    community_id String DEFAULT '',
    trace_id String DEFAULT '' CODEC(ZSTD(1)),
    parent_id String DEFAULT '' CODEC(ZSTD(1)),
    flags Array(LowCardinality(String))
)
ENGINE = MergeTree
PARTITION BY toDate(ts)
ORDER BY (server, host, ts)
SETTINGS ttl_only_drop_parts = 1;
