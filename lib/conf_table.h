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
X(LIST, address, ":9000", SRV | GW, .attrs = CONF_LISTEN, .aliases = "MINIO_ADDRESS",
  .doc = "Where S3 is served: [HOST]:PORT, several of them if repeated. Without HOST all addresses, IPv6 and IPv4; an IPv6 host stands in brackets.")
X(STRING, tls_cert, "", SRV | GW | STO, .attrs = CONF_RELOAD,
  .doc = "Certificate chain (PEM); every listener is then HTTPS. A directory holds NAME.crt and NAME.key per host name. Read again on SIGHUP.")
X(STRING, tls_key, "", SRV | GW | STO, .attrs = CONF_RELOAD,
  .doc = "Private key (PEM) of tls_cert.")
X(LIST, trusted_proxies, "", SRV | GW | STO,
  .doc = "Addresses or networks (10.0.0.0/8) of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed.")
X(INT, max_connections, "1000", SRV | GW | STO | TRK, .min = 1, .max = 100000,
  .doc = "Connections served at once; beyond it 503 SlowDown. One thread each, started as they come: 12 KiB while idle, and as much in the kernel.")
X(INT, max_connections_per_address, "0", SRV | GW | STO, .max = 100000,
  .doc = "The same for one client address; 0 = no limit of its own. Behind a proxy all clients share its address.")
X(DURATION, header_timeout, "20s", SRV | GW | STO, .min = 100, .max = HOUR,
  .doc = "For a request line and its headers to arrive.")
X(DURATION, keepalive_timeout, "60s", SRV | GW | STO, .min = 100, .max = DAY,
  .doc = "An idle connection is closed after this.")
X(DURATION, body_idle_timeout, "60s", SRV | GW | STO, .min = 100, .max = DAY,
  .doc = "No byte of a body, in either direction, for this long closes the connection.")
X(SIZE, min_body_rate, "1K", SRV | GW | STO, .max = GIB,
  .doc = "Bytes per second below which, over five minutes, a request's body is given up; 0 = never.")
X(SIZE, max_header_size, "64K", SRV | GW | STO, .min = 4 * KIB, .max = MIB,
  .doc = "Request line and headers together.")
X(SIZE, request_memory, "8M", SRV | GW | STO, .min = 256 * KIB, .max = GIB,
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
X(LIST, cors_allow_origin, "*", SRV | GW | STO, .aliases = "MINIO_API_CORS_ALLOW_ORIGIN",
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
X(BOOL, replace_blank, "no", SRV | STO,
  .doc = "Take a known store path that is blank, since its disk was replaced, as a new one. For one start, as a flag: an unmounted disk looks the same.")

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

GROUP("Cluster")
X(LIST, trackers, "", GW | STO | TRK,
  .doc = "HOST:PORT of every tracker of the cluster, the same list everywhere (a tracker may list itself).")
X(STRING, cluster_secret, "", GW | STO | TRK, .attrs = CONF_SECRET, .max = 256,
  .doc = "What the processes of a cluster prove to each other; best in a file of its own: cluster_secret_file = FILE here, or CREEL_CLUSTER_SECRET_FILE. `creel admin secret new FILE` makes one.")
X(STRING, cluster_id, "", GW | STO | TRK, .max = 32,
  .doc = "32 hex digits; empty = made from the secret. Needed only where the secret was changed after the first start.")
X(LIST, tracker_address, ":22122", TRK, .attrs = CONF_LISTEN,
  .doc = "Where the tracker listens: [HOST]:PORT.")
X(LIST, tracker_wide_address, "", TRK, .attrs = CONF_LISTEN,
  .doc = "A second port whose answers hold IPv6 addresses (FastDFS clients 6.11 to 6.14 need that form); empty = none.")
X(STRING, tracker_dir, "", TRK,
  .doc = "Directory where the tracker keeps which groups there are; empty = the directory given as argument, or ./tracker.")
X(STRING, storage_address, ":23000", STO, .attrs = CONF_LISTEN,
  .doc = "Where the storage node listens: [HOST]:PORT.")
X(STRING, http_address, "", STO, .attrs = CONF_LISTEN,
  .doc = "Where file URLs (GET /group1/M00/...) are served: [HOST]:PORT; empty = not at all.")
X(STRING, inner_address, "", STO | GW,
  .doc = "HOST or HOST:PORT under which the other processes of the cluster reach this one; empty = the address from which it reaches the first tracker.")
X(STRING, outer_address, "", STO,
  .doc = "The same for clients from outside (behind NAT, in containers); empty = none.")
X(STRING, group, "group1", STO, .min = 1, .max = 16,
  .doc = "Group of this node: letters and digits.")
X(INT, server_id, "0", STO, .max = 16777215,
  .doc = "Number of this node, 1 to 16777215, unlike every other's. It stands in file IDs; a node that has lost its disks takes its place again under it.")
X(INT, min_copies, "0", STO, .max = 32,
  .doc = "Nodes that must hold a write durably before it is acknowledged; 0 = 2 in groups of two and more.")
X(CHOICE, degraded_writes, "refuse", STO, .choices = "refuse|allow",
  .doc = "When fewer nodes are within reach: refuse writes, or take them with one copy.")
X(INT, upload_priority, "10", STO, .max = 1000000,
  .doc = "For store_server = priority: the lowest is taken first.")
X(BOOL, wide_answers, "no", STO,
  .doc = "Answer FastDFS's QUERY_FILE_INFO with fields that hold IPv6 addresses, which clients 6.11 to 6.14 need; most others know the narrow form alone.")
X(CHOICE, store_lookup, "balance", TRK, .choices = "round_robin|group|balance", .attrs = CONF_RELOAD,
  .doc = "Group for an upload that names none: in turn, the one of store_group, or the one with the most room.")
X(STRING, store_group, "group1", TRK, .max = 16, .attrs = CONF_RELOAD,
  .doc = "For store_lookup = group.")
X(CHOICE, store_server, "round_robin", TRK, .choices = "round_robin|first|priority", .attrs = CONF_RELOAD,
  .doc = "Node of a group for an upload.")
X(CHOICE, store_path, "round_robin", TRK, .choices = "round_robin|balance", .attrs = CONF_RELOAD,
  .doc = "Store path of a node for an upload: in turn, or the one with the most room.")
X(CHOICE, download_server, "round_robin", TRK, .choices = "round_robin|source", .attrs = CONF_RELOAD,
  .doc = "Node for a download.")
X(CHOICE, fetch_all, "one", TRK, .choices = "one|servers|addresses", .attrs = CONF_RELOAD,
  .doc = "Answer to FastDFS's FETCH_ALL: one node, which every client reads; all with their ports (6.16); all without (up to 6.15).")
X(SIZE, reserved_storage, "1G", TRK, .max = 64 * TIB, .attrs = CONF_RELOAD,
  .doc = "A node with less room than this gets no uploads.")
X(DURATION, away_after, "3s", TRK, .min = 500, .max = HOUR, .attrs = CONF_RELOAD,
  .doc = "A node that has not been heard for so long gets no requests.")
X(LIST, allow_hosts, "", STO | TRK, .attrs = CONF_RELOAD,
  .doc = "Addresses or networks (10.0.0.0/8) of FastDFS clients, which have no keys; * = everybody. Empty = nobody. Creel's own processes need not be listed.")
X(BOOL, http_check_token, "no", STO, .attrs = CONF_RELOAD,
  .doc = "File URLs need FastDFS's token and ts.")
X(STRING, http_token_secret, "", STO, .attrs = CONF_SECRET, .max = 256,
  .doc = "Secret of those tokens (http.anti_steal.secret_key).")
X(DURATION, http_token_ttl, "900s", STO, .max = 3650 * DAY, .attrs = CONF_RELOAD,
  .doc = "How long a token is good after its ts.")
X(CHOICE, backend, "cluster", GW, .choices = "cluster|fastdfs",
  .doc = "What the trackers belong to: a cluster of Creel, or one of FastDFS (docs/CLUSTER.md says what that cannot promise).")

GROUP("Logs and figures")
X(CHOICE, log_level, "info", SRV | GW | STO | TRK, .choices = "error|warn|info|debug", .attrs = CONF_RELOAD,
  .doc = "What goes to standard error.")
X(STRING, access_log, "-", SRV | GW | STO,
  .doc = "One line per request: a path, - for standard output, or off. SIGHUP opens it again.")
X(BOOL, metrics_public, "no", SRV | GW | STO, .attrs = CONF_RELOAD,
  .doc = "Serve /-/metrics without a token. It names no bucket, key or user.")

GROUP("Compatibility")
X(STRING, console_address, "", SRV | GW, .aliases = "MINIO_CONSOLE_ADDRESS",
  .doc = "Accepted so that compose files for MinIO work; there is no console yet.")
/* clang-format on */
