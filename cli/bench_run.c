/* cli/bench_run.c - threads that keep connections busy (bench.h).
 *
 * R1  At most one request is under way on a connection, and it is counted once:
 *     as a success with its latency, or as an error with its code, or (begun
 *     before the measured time or ended after it) not at all.
 * Threads: bench_run() starts `threads` workers, which own their connections,
 * histograms and random numbers; what they share is in struct shared. */
#include "cli/bench.h"
#include "lib/clock.h"
#include "lib/lock.h"
#include "lib/mem.h"
#include "lib/thread.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define SCRATCH (256u << 10)
#define STALLED_NS INT64_C(60000000000)
#define DRAIN_NS INT64_C(10000000000)
#define RETRY_NS INT64_C(50000000)
#define SLOW_DOWN_NS INT64_C(5000000)

struct shared {
	const struct bench_run *r;
	struct addrinfo *ai;
	struct bench_tls *tls;
	int64_t measure_ns, end_ns; /* end 0: until the count is reached */
	_Atomic uint64_t tickets;
	_Atomic uint64_t succeeded, failed_connects;
	_Atomic bool stop;
	_Atomic int64_t last_ns; /* last counted completion */
	_Atomic unsigned running;
	struct lock lock;
	struct err first; /* under the lock */
};

/* A connection and what it is doing. */
struct slot {
	struct bench_conn c;
	bool busy, wants_write;
	enum bench_op op;
	uint64_t key;
	size_t body;
	int64_t begun_ns, moved_ns, retry_ns;
	/* multipart */
	unsigned step; /* 0 create, 1..n parts, n + 1 complete */
	struct buf upload, sub, parts;
};

struct worker {
	struct shared *sh;
	pthread_t thread;
	unsigned n_slots;
	struct slot *slots;
	int epoll;
	char *scratch;
	struct bench_signer signer;
	struct bench_rng rng;
	struct bench_zipf zipf;
	struct bench_hist *ops; /* BENCH_OPS */
	struct bench_errors errors;
	_Atomic uint64_t n_ops, n_errors, bytes;
};

/* --- what to do next --- */

static enum bench_op
choose_op(struct worker *w)
{
	const struct bench_run *r = w->sh->r;
	uint64_t x = bench_random(&w->rng) % 100;

	for (unsigned op = 0; op < BENCH_OPS; op++) {
		if (x < r->mix[op])
			return op;
		x -= r->mix[op];
	}
	return BENCH_GET;
}

/* Spreads Zipf's popular ranks over the keys: a product with an odd number is
 * one to one in the next power of two; walk until it is inside. */
static uint64_t
scatter(uint64_t rank, uint64_t n)
{
	uint64_t mask = n <= 1 ? 0 : UINT64_MAX >> __builtin_clzll(n - 1);

	do {
		rank = (rank * 0x9e3779b97f4a7c15u + 12345) & mask;
	} while (rank >= n);
	return rank;
}

static uint64_t
choose_key(struct worker *w, uint64_t ticket)
{
	const struct bench_run *r = w->sh->r;

	if (r->distribution == BENCH_SEQUENTIAL || r->keys == 0)
		return r->keys == 0 ? ticket : ticket % r->keys;
	if (r->distribution == BENCH_UNIFORM)
		return bench_random(&w->rng) % r->keys;
	return scatter(bench_zipf_next(&w->zipf, &w->rng) - 1, r->keys);
}

/* --- requests --- */

static int
multipart_request(struct worker *w, struct slot *s, struct bench_request *q,
    const char **body)
{
	const struct bench_plan *p = w->sh->r->plan;
	int rc;

	buf_reset(&s->sub);
	q->has_body = true;
	if (s->step == 0) {
		q->method = "POST";
		rc = buf_addz(&s->sub, "uploads=");
	} else if (s->step <= p->n_parts) {
		bool last = s->step == p->n_parts;

		q->method = "PUT";
		q->body_len = last ? p->last_size : p->body_size;
		q->body_hash = last ? p->last_hash : p->body_hash[0];
		*body = bench_body(p, 0);
		rc = buf_addf(&s->sub, "partNumber=%u&uploadId=" STR_FMT,
		    s->step, STR_ARG(buf_str(&s->upload)));
	} else {
		uint8_t d[32];
		static _Thread_local char hash[65];

		q->method = "POST";
		rc = buf_addz(&s->parts, "</CompleteMultipartUpload>");
		hash_sha256(s->parts.p, s->parts.len, d);
		hex_encode(d, 32, hash);
		q->body_hash = hash;
		q->body_len = s->parts.len;
		*body = s->parts.p;
		if (rc == 0)
			rc = buf_addf(&s->sub, "uploadId=" STR_FMT,
			    STR_ARG(buf_str(&s->upload)));
	}
	q->sub = buf_str(&s->sub);
	return rc;
}

static int
build(struct worker *w, struct slot *s, struct err *e)
{
	static const char *const methods[] = { "PUT", "GET", "HEAD", "DELETE",
		"GET", "POST", "PUT" };
	const struct bench_run *r = w->sh->r;
	struct bench_request q = { .method = methods[s->op],
		.op = s->op,
		.key = s->key,
		.unique = r->unique };
	const char *body = NULL;
	int rc = 0;

	if (s->op == BENCH_PUT) {
		q.has_body = true;
		q.body_len = r->plan->body_size;
		q.body_hash = r->plan->body_hash[s->body];
		body = bench_body(r->plan, s->body);
	} else if (s->op == BENCH_MULTIPART) {
		rc = multipart_request(w, s, &q, &body);
	} else if (s->op == BENCH_BUCKET) {
		q.has_body = true;
	} else if (s->op == BENCH_LIST && r->keys == 0) {
		q.key = UINT64_MAX; /* from the beginning */
	}
	if (rc < 0)
		return err_set(e, rc, "building a request");
	rc = bench_request_head(r->plan, &w->signer, &q, clock_real_s(),
	    &s->c.head, e);
	if (rc < 0)
		return rc;
	s->c.body = body;
	s->c.body_len = q.body_len;
	bench_conn_begin(&s->c, s->op == BENCH_HEAD,
	    s->op == BENCH_MULTIPART &&
		(s->step == 0 || s->step > r->plan->n_parts));
	return 0;
}

/* --- endings --- */

static bool
is_counted(const struct worker *w, const struct slot *s, int64_t now)
{
	return s->begun_ns >= w->sh->measure_ns &&
	       (w->sh->end_ns == 0 || now <= w->sh->end_ns);
}

static void
succeeded(struct worker *w, struct slot *s, int64_t now)
{
	uint64_t bytes = s->c.body_len + s->c.received;

	s->busy = false;
	atomic_fetch_add_explicit(&w->sh->succeeded, 1, memory_order_relaxed);
	if (!is_counted(w, s, now))
		return;
	if (s->op == BENCH_MULTIPART)
		bytes = w->sh->r->plan->conf->size;
	bench_hist_add(&w->ops[s->op], (uint64_t)(now - s->begun_ns));
	atomic_fetch_add_explicit(&w->n_ops, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&w->bytes, bytes, memory_order_relaxed);
	atomic_store_explicit(&w->sh->last_ns, now, memory_order_relaxed);
}

static void
failed(struct worker *w, struct slot *s, struct str code, const char *detail,
    int64_t now)
{
	s->busy = false;
	lock_take(&w->sh->lock);
	if (w->sh->first.code == 0)
		err_set(&w->sh->first, ERR_IO, STR_FMT "%s%.150s",
		    STR_ARG(code), *detail == '\0' ? "" : ": ", detail);
	lock_drop(&w->sh->lock);
	if (!is_counted(w, s, now))
		return;
	bench_error_add(&w->errors, code, 1);
	atomic_fetch_add_explicit(&w->n_errors, 1, memory_order_relaxed);
}

static void
failed_status(struct worker *w, struct slot *s, int64_t now)
{
	struct str code = bench_conn_xml(&s->c, "Code");
	struct str text = bench_conn_xml(&s->c, "Message");
	char status[16], message[160];

	if (code.len == 0) {
		snprintf(status, sizeof(status), "HTTP %d", s->c.status);
		code = str_of(status);
	}
	snprintf(message, sizeof(message), STR_FMT,
	    STR_ARG(str_sub(text, 0, sizeof(message) - 1)));
	failed(w, s, code, message, now);
	if (s->c.status == 503)
		s->retry_ns = now + SLOW_DOWN_NS;
}

/* Multipart: true when the next request of the same operation follows. */
static bool
next_step(struct worker *w, struct slot *s)
{
	const struct bench_plan *p = w->sh->r->plan;

	if (s->step == 0) {
		struct str id = bench_conn_xml(&s->c, "UploadId");

		buf_reset(&s->upload);
		buf_reset(&s->parts);
		if (id.len == 0 || buf_add_pct(&s->upload, id, false) < 0 ||
		    buf_addz(&s->parts, "<CompleteMultipartUpload>") < 0)
			return false;
	} else if (s->step <= p->n_parts) {
		if (buf_addf(&s->parts,
			"<Part><PartNumber>%u</PartNumber><ETag>%s</ETag>"
			"</Part>",
			s->step, s->c.etag) < 0)
			return false;
	}
	s->step++;
	return true;
}

/* --- the machine --- */

static void
interest(struct worker *w, struct slot *s, bool write, int op)
{
	struct epoll_event ev = { .events = write ? EPOLLOUT : EPOLLIN,
		.data.ptr = s };

	if (op == EPOLL_CTL_MOD && s->wants_write == write)
		return;
	s->wants_write = write;
	MUST(epoll_ctl(w->epoll, op, s->c.fd, &ev) == 0);
}

static void
lost(struct worker *w, struct slot *s, const struct err *why, int64_t now)
{
	bool fresh = !s->c.connected;
	const char *code = why->code == ERR_CORRUPT ? "BadAnswer"
	                   : fresh                  ? "ConnectFailed"
	                                            : "Disconnected";

	failed(w, s, str_of(code), why->msg, now);
	bench_conn_close(&s->c);
	s->retry_ns = now + RETRY_NS;
	if (atomic_load(&w->sh->succeeded) == 0 &&
	    atomic_fetch_add(&w->sh->failed_connects, 1) >
		3u * w->sh->r->concurrency + 20)
		atomic_store(&w->sh->stop, true);
}

/* The answer is complete. */
static void
answered(struct worker *w, struct slot *s, int64_t now)
{
	int status = s->c.status;
	bool fine =
	    status / 100 == 2 || (s->op == BENCH_BUCKET && status == 409);

	/* Reading what the same load has deleted is no failure. */
	if (status == 404 && (s->op == BENCH_GET || s->op == BENCH_HEAD) &&
	    w->sh->r->mix[BENCH_DELETE] > 0)
		fine = true;
	if (!s->c.usable)
		bench_conn_close(&s->c);
	/* Complete may say 200 and then fail. */
	if (fine && s->op == BENCH_MULTIPART && s->c.keep_len > 0 &&
	    bench_conn_xml(&s->c, "Code").len > 0)
		fine = false;
	if (!fine) {
		failed_status(w, s, now);
		return;
	}
	if (s->op == BENCH_MULTIPART && s->step <= w->sh->r->plan->n_parts) {
		if (!next_step(w, s))
			failed(w, s, STR_LIT("NoUploadId"), "", now);
		return; /* still busy: start() goes on with it */
	}
	succeeded(w, s, now);
}

/* Runs @s until it waits; true when it ended an operation or a step. */
static bool
go_on(struct worker *w, struct slot *s, int64_t *now)
{
	enum bench_want want = BENCH_WANT_READ;
	struct err e = ERR_INIT;
	int rc = bench_conn_step(&s->c, w->scratch, SCRATCH, &want, &e);

	if (rc == 0 && want != BENCH_DONE) {
		interest(w, s, want == BENCH_WANT_WRITE, EPOLL_CTL_MOD);
		return false;
	}
	*now = clock_mono_ns();
	s->moved_ns = *now;
	if (rc < 0)
		lost(w, s, &e, *now);
	else
		answered(w, s, *now);
	return true;
}

/* Gives @s a request, the next of its operation or a new one. False when there
 * is nothing to do now. */
static bool
start(struct worker *w, struct slot *s, int64_t now)
{
	struct shared *sh = w->sh;
	struct err e = ERR_INIT;

	if (!s->busy) {
		uint64_t ticket;

		if (atomic_load_explicit(&sh->stop, memory_order_relaxed) ||
		    (sh->end_ns != 0 && now >= sh->end_ns) || now < s->retry_ns)
			return false;
		ticket = atomic_fetch_add_explicit(&sh->tickets, 1,
		    memory_order_relaxed);
		if (sh->r->count > 0 && ticket >= sh->r->count)
			return false;
		s->op = choose_op(w);
		s->key = choose_key(w, ticket);
		s->body =
		    (size_t)(bench_random(&w->rng) % sh->r->plan->n_bodies);
		s->step = 0;
		s->begun_ns = now;
		s->busy = true;
	}
	s->moved_ns = now;
	if (build(w, s, &e) < 0) {
		failed(w, s, STR_LIT("ClientError"), e.msg, now);
		atomic_store(&sh->stop, true);
		return false;
	}
	if (s->c.fd >= 0)
		return true;
	if (bench_conn_open(&s->c, sh->ai, sh->r->plan->conf, sh->tls, &e) <
	    0) {
		lost(w, s, &e, now);
		return false;
	}
	interest(w, s, true, EPOLL_CTL_ADD);
	return true;
}

/* Keeps @s going as long as it needs no waiting. */
static void
drive(struct worker *w, struct slot *s, bool ready, int64_t now)
{
	/* Bounded, so that one quick connection cannot starve the others. */
	for (int i = 0; i < 4; i++) {
		if (ready && !go_on(w, s, &now))
			return;
		if (!start(w, s, now))
			return;
		ready = true;
	}
	go_on(w, s, &now); /* sends what start() has built */
}

static void
stalled(struct worker *w, struct slot *s, int64_t now)
{
	struct err e;

	err_set(&e, ERR_REQUEST_TIMEOUT, "no answer for 60 s");
	lost(w, s, &e, now);
}

/* Looks at all connections: those to be opened again, and those that hang.
 * False when all are idle for good. */
static bool
tick(struct worker *w, int64_t now)
{
	struct shared *sh = w->sh;
	bool over =
	    atomic_load(&sh->stop) || (sh->end_ns != 0 && now >= sh->end_ns) ||
	    (sh->r->count > 0 && atomic_load(&sh->tickets) >= sh->r->count);
	bool alive = false;

	for (unsigned i = 0; i < w->n_slots; i++) {
		struct slot *s = &w->slots[i];

		if (s->busy && s->c.fd < 0)
			drive(w, s, false, now); /* between two steps */
		else if (s->busy && now - s->moved_ns > STALLED_NS)
			stalled(w, s, now);
		else if (!s->busy && !over && now >= s->retry_ns)
			drive(w, s, false, now);
		alive = alive || s->busy;
	}
	if (over && sh->end_ns != 0 && now > sh->end_ns + DRAIN_NS)
		return false;
	return alive || !over;
}

static void *
worker_main(void *arg)
{
	struct worker *w = arg;
	struct epoll_event ev[256];
	int64_t next_tick = 0;

	for (;;) {
		int64_t now = clock_mono_ns();
		int n;

		if (now >= next_tick) {
			if (!tick(w, now))
				break;
			next_tick = clock_mono_ns() + 5000000;
		}
		n = epoll_wait(w->epoll, ev, 256, 5);
		now = clock_mono_ns();
		for (int i = 0; i < n; i++) {
			struct slot *s = ev[i].data.ptr;

			if (s->c.fd >= 0 && s->busy)
				drive(w, s, true, now);
			else if (s->c.fd >= 0) /* closed while idle */
				bench_conn_close(&s->c);
		}
	}
	atomic_fetch_sub(&w->sh->running, 1);
	return NULL;
}

/* --- set-up --- */

static void
worker_fini(struct worker *w)
{
	for (unsigned i = 0; w->slots != NULL && i < w->n_slots; i++) {
		bench_conn_fini(&w->slots[i].c);
		buf_fini(&w->slots[i].upload);
		buf_fini(&w->slots[i].sub);
		buf_fini(&w->slots[i].parts);
	}
	mem_free(&w->slots);
	mem_free(&w->scratch);
	mem_free(&w->ops);
	bench_signer_fini(&w->signer);
	if (w->epoll >= 0)
		close(w->epoll);
}

static int
worker_init(struct worker *w, struct shared *sh, unsigned n, uint64_t seed,
    struct err *e)
{
	const struct bench_run *r = sh->r;

	memset(w, 0, sizeof(*w));
	w->sh = sh;
	w->rng.s = seed;
	if (r->distribution == BENCH_ZIPF && r->keys > 0)
		bench_zipf_init(&w->zipf, r->keys, r->plan->conf->zipf);
	bench_signer_init(&w->signer);
	w->epoll = epoll_create1(EPOLL_CLOEXEC);
	w->slots = mem_zalloc(n * sizeof(*w->slots));
	w->scratch = mem_alloc(SCRATCH);
	w->ops = mem_zalloc(BENCH_OPS * sizeof(*w->ops));
	if (w->epoll < 0 || w->slots == NULL || w->scratch == NULL ||
	    w->ops == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	w->n_slots = n;
	for (unsigned i = 0; i < n; i++) {
		bench_conn_init(&w->slots[i].c);
		w->slots[i].upload = BUF_CAP(8192);
		w->slots[i].sub = BUF_CAP(16384);
		w->slots[i].parts = BUF_CAP(2u << 20);
	}
	return 0;
}

/* The first address that takes a connection. */
static int
find_address(const struct bench_conf *c, struct addrinfo **ret_all,
    struct addrinfo **ret, struct err *e)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	int rc = getaddrinfo(c->host, c->port, &hints, ret_all), last = 0;

	if (rc != 0)
		return err_set(e, ERR_CONFIG, "%s: %s", c->host,
		    gai_strerror(rc));
	for (struct addrinfo *ai = *ret_all; ai != NULL; ai = ai->ai_next) {
		int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

		if (fd >= 0 && connect(fd, ai->ai_addr, ai->ai_addrlen) == 0) {
			close(fd);
			*ret = ai;
			return 0;
		}
		last = errno;
		if (fd >= 0)
			close(fd);
	}
	freeaddrinfo(*ret_all);
	return err_set_errno(e, last, "cannot connect to %s:%s", c->host,
	    c->port);
}

static void
progress(const struct worker *w, unsigned n, int64_t begun, bool last)
{
	uint64_t ops = 0, errors = 0, bytes = 0;
	double s = (double)(clock_mono_ns() - begun) / 1e9;

	for (unsigned i = 0; i < n; i++) {
		ops += atomic_load(&w[i].n_ops);
		errors += atomic_load(&w[i].n_errors);
		bytes += atomic_load(&w[i].bytes);
	}
	if (s < 0.001)
		s = 0.001;
	fprintf(stderr, "\r\033[K%6.1f s  %ju ops  %.0f ops/s  %.1f MB/s", s,
	    (uintmax_t)ops, (double)ops / s, (double)bytes / s / 1e6);
	if (errors > 0)
		fprintf(stderr, "  %ju errors", (uintmax_t)errors);
	if (last)
		fputs("\r\033[K", stderr);
}

/* Waits for the workers; takes the CPU times at the ends of the measured time. */
static void
watch(struct shared *sh, struct worker *w, unsigned n, struct bench_result *ret)
{
	const struct bench_conf *c = sh->r->plan->conf;
	bool show = !sh->r->quiet && isatty(2);
	bool began = sh->r->count > 0 || sh->r->warmup_ns == 0;
	double cpu0 = 0, own0 = bench_own_cpu();
	int64_t shown = 0;

	ret->has_cpu = c->n_pids > 0 && bench_cpu(c->pids, c->n_pids, &cpu0);
	while (atomic_load(&sh->running) > 0) {
		int64_t now = clock_mono_ns();

		if (!began && now >= sh->measure_ns) {
			began = true;
			own0 = bench_own_cpu();
			ret->has_cpu = ret->has_cpu &&
			               bench_cpu(c->pids, c->n_pids, &cpu0);
		}
		if (sh->end_ns != 0 && now >= sh->end_ns)
			break;
		if (show && began && now - shown > 500000000) {
			progress(w, n, sh->measure_ns, false);
			shown = now;
		}
		clock_sleep_ms(sh->r->count > 0 ? 2 : 5);
	}
	if (ret->has_cpu) {
		ret->has_cpu =
		    bench_cpu(c->pids, c->n_pids, &ret->server_cpu_s);
		ret->server_cpu_s -= cpu0;
	}
	ret->own_cpu_s = bench_own_cpu() - own0;
	if (show)
		progress(w, n, sh->measure_ns, true);
}

static void
gather(struct worker *w, unsigned n, struct bench_result *ret)
{
	for (unsigned i = 0; i < n; i++) {
		for (unsigned op = 0; op < BENCH_OPS; op++)
			bench_hist_merge(&ret->ops[op], &w[i].ops[op]);
		for (size_t k = 0; k < BENCH_ERRORS; k++)
			bench_error_add(&ret->errors,
			    str_of(w[i].errors.e[k].code), w[i].errors.e[k].n);
		ret->n_ops += atomic_load(&w[i].n_ops);
		ret->n_errors += atomic_load(&w[i].n_errors);
		ret->bytes += atomic_load(&w[i].bytes);
	}
}

static int
run_workers(struct shared *sh, struct worker *w, unsigned n,
    struct bench_result *ret, struct err *e)
{
	const struct bench_run *r = sh->r;
	unsigned started = 0;
	int64_t now = clock_mono_ns();
	int rc = 0;

	sh->measure_ns = now + (r->count > 0 ? 0 : r->warmup_ns);
	sh->end_ns = r->count > 0 ? 0 : sh->measure_ns + r->duration_ns;
	atomic_store(&sh->last_ns, sh->measure_ns);
	atomic_store(&sh->running, n);
	for (; started < n; started++) {
		rc = thread_start(&w[started].thread, "bench", worker_main,
		    &w[started], e);
		if (rc < 0)
			break;
	}
	if (rc < 0) {
		atomic_fetch_sub(&sh->running, n - started);
		atomic_store(&sh->stop, true);
	}
	watch(sh, w, n, ret);
	for (unsigned i = 0; i < started; i++)
		thread_join(w[i].thread);
	if (rc < 0)
		return rc;
	gather(w, n, ret);
	now = sh->end_ns != 0 ? sh->end_ns : atomic_load(&sh->last_ns);
	ret->seconds = (double)(now - sh->measure_ns) / 1e9;
	if (ret->seconds < 1e-6)
		ret->seconds = 1e-6;
	/* Nothing at all worked: then say why. */
	if (atomic_load(&sh->succeeded) == 0 && sh->first.code != 0) {
		*e = sh->first;
		return e->code;
	}
	return 0;
}

int
bench_run(const struct bench_run *r, struct bench_result *ret, struct err *e)
{
	struct shared sh = { .r = r };
	struct addrinfo *all;
	struct worker *w;
	unsigned n = r->threads, made = 0;
	int rc;

	memset(ret, 0, sizeof(*ret));
	rc = find_address(r->plan->conf, &all, &sh.ai, e);
	if (rc < 0)
		return rc;
	if (r->plan->conf->tls)
		rc = bench_tls_new(r->plan->conf, &sh.tls, e);
	if (rc < 0)
		goto out_address;
	if (n > r->concurrency)
		n = r->concurrency;
	w = mem_zalloc(n * sizeof(*w));
	if (w == NULL) {
		rc = err_set(e, ERR_NO_MEMORY, NULL);
		goto out_tls;
	}
	lock_init(&sh.lock, LOCK_RANK_LEAF);
	for (; made < n && rc == 0; made++) {
		unsigned share =
		    r->concurrency / n + (made < r->concurrency % n);

		rc = worker_init(&w[made], &sh, share,
		    (uint64_t)clock_real_ns() * 31 + made * 7919u, e);
	}
	if (rc == 0)
		rc = run_workers(&sh, w, n, ret, e);
	for (unsigned i = 0; i < made; i++)
		worker_fini(&w[i]);
	lock_fini(&sh.lock);
	mem_free(&w);
out_tls:
	bench_tls_free(&sh.tls);
out_address:
	freeaddrinfo(all);
	return rc;
}
