/* lib/metrics_table.h - every counter, gauge and histogram, once; and the
 * values of their labels. Included several times; no include guard on purpose.
 *
 *   COUNTER(name, help)          only grows; the name ends in _total
 *   GAUGE(name, help)            goes up and down
 *   FAMILY(name, label, SET, help)                   counters by one label
 *   FAMILY2(name, label, SET, label, SET, help)      by two
 *   HISTOGRAM(name, label, SET, help)                of durations
 *
 * SET is OP (the operation), CODE (the HTTP status) or ERR (lib/err_table.h).
 * Never a bucket, key or user. The exported names begin with creel_. */
/* clang-format off */

#ifndef COUNTER
#define COUNTER(...)
#endif
#ifndef GAUGE
#define GAUGE(...)
#endif
#ifndef FAMILY
#define FAMILY(...)
#endif
#ifndef FAMILY2
#define FAMILY2(...)
#endif
#ifndef HISTOGRAM
#define HISTOGRAM(...)
#endif
#ifndef OP
#define OP(...)
#endif
#ifndef CODE
#define CODE(...)
#endif

FAMILY2(requests_total, operation, OP, code, CODE, "Requests answered.")
HISTOGRAM(request_duration_seconds, operation, OP, "From the end of the headers to the end of the answer.")
FAMILY(received_bytes_total, operation, OP, "Bytes of request bodies.")
FAMILY(sent_bytes_total, operation, OP, "Bytes of response bodies.")
FAMILY(errors_total, error, ERR, "Requests that ended in an error, and failures in the background, by kind.")

GAUGE(http_connections, "Connections open.")
GAUGE(http_connections_busy, "Connections with a request under way.")
GAUGE(http_connections_max, "The limit of http_connections.")
GAUGE(garbage_rows, "Manifests and uploads that wait for the collector.")
GAUGE(index_bytes, "Size of the index on disk.")
COUNTER(storage_failures_total, "Calls to storage nodes that got no answer.")
COUNTER(storage_quick_reads_total, "Small reads that a node answered at once, over the connection that they share.")
COUNTER(storage_refusals_total, "Calls that storage nodes refused: busy, full, too few copies.")
COUNTER(writes_repeated_total, "Writes that were tried again under another write ID.")
COUNTER(collected_files_total, "Files deleted by the collector.")
COUNTER(collected_bytes_total, "Bytes deleted by the collector.")

/* Operations: S3's own names. The last one is what none of them fits. */
OP(ListBuckets) OP(CreateBucket) OP(HeadBucket) OP(DeleteBucket)
OP(GetBucketLocation) OP(GetBucketVersioning) OP(GetBucketAcl)
OP(GetBucketConfig) OP(PutBucketConfig) OP(DeleteBucketConfig)
OP(ListObjects) OP(ListObjectsV2) OP(ListObjectVersions)
OP(PutObject) OP(GetObject) OP(HeadObject) OP(DeleteObject) OP(DeleteObjects)
OP(CopyObject) OP(GetObjectAttributes) OP(GetObjectAcl) OP(GetObjectConfig)
OP(PutObjectConfig) OP(DeleteObjectConfig) OP(PostObject)
OP(CreateMultipartUpload) OP(UploadPart) OP(UploadPartCopy)
OP(CompleteMultipartUpload) OP(AbortMultipartUpload) OP(ListParts)
OP(ListMultipartUploads)
OP(Options) OP(Health) OP(Metrics) OP(Admin) OP(Other)

/* HTTP status codes that are answered; 0 stands for any other. */
CODE(200) CODE(204) CODE(206) CODE(301) CODE(304) CODE(307) CODE(400)
CODE(401) CODE(403) CODE(404) CODE(405) CODE(408) CODE(409) CODE(411)
CODE(412) CODE(413) CODE(416) CODE(429) CODE(431) CODE(500) CODE(501)
CODE(503) CODE(507) CODE(0)
/* clang-format on */

#undef COUNTER
#undef GAUGE
#undef FAMILY
#undef FAMILY2
#undef HISTOGRAM
#undef OP
#undef CODE
