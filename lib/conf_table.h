/* lib/conf_table.h - every setting, once:
 *
 *   X(TYPE, name, default, daemons, .member = value, ...)
 *
 * in the order of the sample files; GROUP() starts a paragraph there. TYPE is
 * one of conf.h's. The members are those of struct conf_def. The environment
 * variable is CREEL_NAME, the flag --name with dashes; aliases are further
 * environment variables. Included several times; no include guard on purpose.
 * SRV, GW, STO and TRK: which daemons have it. */
/* clang-format off */

GROUP("Network")
X(LIST, address, ":9000", SRV | GW, .aliases = "MINIO_ADDRESS",
  .doc = "Where S3 is served: [HOST]:PORT, several of them if repeated. Without HOST all addresses, IPv6 and IPv4; an IPv6 host stands in brackets.")
X(STRING, tls_cert, "", SRV | GW, .attrs = CONF_RELOAD,
  .doc = "Certificate chain (PEM); every listener is then HTTPS. A directory holds NAME.crt and NAME.key per host name. Read again on SIGHUP.")
X(STRING, tls_key, "", SRV | GW, .attrs = CONF_RELOAD,
  .doc = "Private key (PEM) of tls_cert.")
X(LIST, trusted_proxies, "", SRV | GW,
  .doc = "Addresses or networks (10.0.0.0/8) of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed.")
X(INT, max_connections, "1000", SRV | GW | STO | TRK, .min = 1, .max = 100000,
  .doc = "Connections served at once; beyond it 503 SlowDown. One thread each, about 17 KiB while idle.")
X(INT, max_connections_per_address, "0", SRV | GW | STO | TRK, .max = 100000,
  .doc = "The same for one client address; 0 = no limit of its own. Behind a proxy all clients share its address.")
X(DURATION, header_timeout, "20s", SRV | GW, .min = 100, .max = HOUR,
  .doc = "For a request line and its headers to arrive.")
X(DURATION, keepalive_timeout, "60s", SRV | GW, .min = 100, .max = DAY,
  .doc = "An idle connection is closed after this.")
X(DURATION, body_idle_timeout, "60s", SRV | GW, .min = 100, .max = DAY,
  .doc = "No byte of a body, in either direction, for this long closes the connection.")
X(SIZE, min_body_rate, "1K", SRV | GW, .max = GIB,
  .doc = "Bytes per second below which, over five minutes, a request's body is given up; 0 = never.")
X(SIZE, max_header_size, "64K", SRV | GW, .min = 4 * KIB, .max = MIB,
  .doc = "Request line and headers together.")
X(SIZE, request_memory, "8M", SRV | GW, .min = 256 * KIB, .max = GIB,
  .doc = "Memory that one request may use for headers, XML and listings.")
X(DURATION, stop_timeout, "8s", SRV | GW | STO | TRK, .max = HOUR,
  .doc = "After SIGTERM, for requests under way to finish. Docker kills after 10 s.")

GROUP("S3")
X(STRING, root_user, "", SRV | GW, .attrs = CONF_SECRET, .min = 3, .max = 128, .aliases = "MINIO_ROOT_USER",
  .doc = "Access key of the administrator, also CREEL_ROOT_USER_FILE. With none, a pair is made at first start and kept in DIR/credentials.env.")
X(STRING, root_password, "", SRV | GW, .attrs = CONF_SECRET, .min = 8, .max = 128, .aliases = "MINIO_ROOT_PASSWORD",
  .doc = "Its secret key, 8 characters at least.")
X(STRING, region, "us-east-1", SRV | GW, .aliases = "MINIO_REGION MINIO_SITE_REGION", .min = 1, .max = 63,
  .doc = "What GetBucketLocation and x-amz-bucket-region answer. Requests signed for any region are accepted.")
X(LIST, domain, "localhost", SRV | GW, .aliases = "MINIO_DOMAIN",
  .doc = "Host names under which BUCKET.NAME is virtual-host style. Every other host, and any IP address, is path style.")
X(LIST, cors_allow_origin, "*", SRV | GW, .aliases = "MINIO_API_CORS_ALLOW_ORIGIN",
  .doc = "Origins that browsers may call from; * is any, without credentials; empty switches CORS off.")
X(SIZE, max_body_size, "5T", SRV | GW, .min = 5 * MIB, .max = 5 * TIB,
  .doc = "Largest body of one PUT or part. (AWS: 5 GiB.)")
X(DURATION, upload_expiry, "0", SRV | GW, .max = 3650 * DAY,
  .doc = "Multipart uploads older than this are aborted; 0 = never, as on AWS.")

GROUP("Storage")
X(SIZE, extent_size, "64M", SRV | GW, .min = MIB, .max = 4 * GIB,
  .doc = "Larger bodies are cut into extents of this size.")
X(SIZE, small_file_limit, "1M", SRV | STO, .min = 4 * KIB, .max = 16 * MIB,
  .doc = "Up to this size an extent lives in a volume, above it in a file of its own.")
X(SIZE, volume_size, "256M", SRV | STO, .min = MIB, .max = 64 * GIB,
  .doc = "Size to which a volume is preallocated.")
X(SIZE, write_queue_max, "64M", SRV | STO, .min = MIB, .max = 16 * GIB,
  .doc = "Bytes waiting for the writer of one store path; beyond it writers wait.")
X(SIZE, reserved_space, "256M", SRV | STO, .min = 0, .max = 64 * TIB, .attrs = CONF_RELOAD,
  .doc = "Kept free on each store path for logs, index and deletes: below it uploads are refused with 507.")
X(SIZE, scrub_rate, "20M", SRV | STO, .max = 64 * GIB, .attrs = CONF_RELOAD,
  .doc = "Bytes per second at which stored data is read again and verified in the background; 0 = not at all.")
X(DURATION, scrub_interval, "14d", SRV | STO, .min = 1000, .max = 3650 * DAY, .attrs = CONF_RELOAD,
  .doc = "From the start of one scrub to the next.")
X(INT, compact_percent, "50", SRV | STO, .min = 1, .max = 100, .attrs = CONF_RELOAD,
  .doc = "A sealed volume is rewritten once this share of its bytes is dead; 100 = never.")
X(DURATION, compact_interval, "60s", SRV | STO, .min = 100, .max = 30 * DAY, .attrs = CONF_RELOAD,
  .doc = "How often volumes are looked through for dead space.")

GROUP("Index")
X(STRING, index, "", SRV | GW,
  .doc = "Directory of the index and the credentials; empty = the first store path.")
X(SIZE, index_map_size, "64G", SRV | GW, .min = 64 * MIB, .max = 64 * TIB,
  .doc = "Address space for the index. It takes no memory or disk by itself, and grows when it is full.")
X(SIZE, index_table_max, "32M", SRV | GW, .min = 16 * KIB, .max = 16 * GIB,
  .doc = "Memory for changes not yet written to the index; beyond it writers wait.")
X(SIZE, index_log_segment, "16M", SRV | GW, .min = 64 * KIB, .max = 4 * GIB,
  .doc = "Size of one file of the index log.")
X(DURATION, index_archive_interval, "10s", SRV | GW, .max = DAY,
  .doc = "How far the copy of the index kept in the storage may lag behind; 0 = no copy.")
X(SIZE, index_snapshot_every, "256M", SRV | GW, .min = MIB, .max = TIB,
  .doc = "Bytes of archived log after which the index is stored whole again.")
X(INT, trash_days, "7", SRV | GW, .min = 1, .max = 3650, .attrs = CONF_RELOAD,
  .doc = "Days that bytes which the sweep found without an owner stay before they are deleted.")
X(DURATION, sweep_interval, "1d", SRV | GW, .max = 3650 * DAY, .attrs = CONF_RELOAD,
  .doc = "From one sweep for bytes without an owner to the next; 0 = only by command.")

GROUP("Logs and figures")
X(CHOICE, log_level, "info", SRV | GW | STO | TRK, .choices = "error|warn|info|debug", .attrs = CONF_RELOAD,
  .doc = "What goes to standard error.")
X(STRING, access_log, "-", SRV | GW,
  .doc = "One line per request: a path, - for standard output, or off. SIGHUP opens it again.")
X(BOOL, metrics_public, "no", SRV | GW, .attrs = CONF_RELOAD,
  .doc = "Serve /-/metrics without a token. It names no bucket, key or user.")

GROUP("Compatibility")
X(STRING, console_address, "", SRV | GW, .aliases = "MINIO_CONSOLE_ADDRESS",
  .doc = "Accepted so that compose files for MinIO work; there is no console yet.")
/* clang-format on */
