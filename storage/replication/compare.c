/* storage/replication/compare.c - sets of files against a peer's (P7).
 *
 * Digests of key ranges are compared; a range that differs is split into WAYS,
 * down to LEAF entries, which are listed on both sides. Each side takes over what
 * it lacks itself. A difference counts if it is still there a second later: else
 * it was on its way.
 *
 * DIGEST  args    number u32, for each: from 16, to 16
 *         answer  for each: entries u64, sum 2 x u64
 * RANGE   args    from 16, to 16, at most u32, with names u8
 *         answer  more u8, number u32, for each: key 16, known u8, class u8,
 *                 version u64, size u64, and with names its name text
 * Both are ERR_RETRY at a node that has not caught up itself. */
#include "storage/replication/rep_int.h"

#include <stdlib.h>

#define WAYS 16
#define LEAF 256
#define RANGE_MAX 2048
#define DEPTH 40
#define KEYS_MAX (1u << 20)
#define AGAIN_MS 1000

struct range {
	uint8_t from[ENGINE_KEY], to[ENGINE_KEY];
};

/* --- for a peer --- */

static int
must_be_active(struct rep *r, struct err *e)
{
	bool ok;

	lock_take(&r->lock);
	ok = r->is_active;
	lock_drop(&r->lock);
	return ok ? 0 : err_set(e, ERR_RETRY, "has not caught up itself");
}

int
rep_serve_digest(struct rep *r, const struct rpc_from *from,
    const struct rpc_request *q, struct rpc_answer *a, struct err *e)
{
	struct unpack u = unpack_of(q->args);
	uint32_t i, n = unpack_u32(&u);
	struct engine_digest d;
	struct range g;
	int rc = must_be_active(r, e);

	(void)from;
	if (rc == 0 && n > WAYS)
		rc = err_set(e, ERR_INVALID, "too many ranges");
	for (i = 0; rc == 0 && i < n; i++) {
		wire_unpack_key(&u, g.from);
		wire_unpack_key(&u, g.to);
		rc = unpack_end(&u, e);
		if (rc == 0)
			rc = r->so->digest(r->st, g.from, g.to, &d, e);
		if (rc == 0)
			rc = pack_u64(&a->args, d.n);
		if (rc == 0)
			rc = pack_u64(&a->args, d.sum[0]);
		if (rc == 0)
			rc = pack_u64(&a->args, d.sum[1]);
	}
	return rc;
}

struct entry {
	uint8_t key[ENGINE_KEY];
	struct engine_version v;
	char id[ENGINE_FILE_ID_MAX];
};

struct list {
	struct entry *v;
	size_t n, max;
};

static int
list_add(void *arg, const uint8_t key[ENGINE_KEY],
    const struct engine_version *v)
{
	struct list *l = arg;

	if (l->n == l->max)
		return 1;
	memcpy(l->v[l->n].key, key, ENGINE_KEY);
	l->v[l->n].v = *v;
	l->v[l->n++].id[0] = '\0';
	return 0;
}

static int
list_new(struct list *l, struct err *e)
{
	*l = (struct list){ .max = RANGE_MAX };
	l->v = mem_alloc(RANGE_MAX * sizeof(*l->v));
	return l->v == NULL ? err_set(e, ERR_NO_MEMORY, NULL) : 0;
}

static int
list_here(struct rep *r, const struct range *g, struct list *l, struct err *e)
{
	int rc = r->so->range(r->st, g->from, g->to, l->max, list_add, l, e);

	return rc < 0 ? rc : 0;
}

/* The name of a key; one that went meanwhile has none. */
static int
pack_name(struct rep *r, const uint8_t key[ENGINE_KEY], struct buf *b,
    struct err *e)
{
	struct engine_record rec;
	struct buf note = BUF_CAP(WIRE_NOTE_MAX);
	int rc = r->so->record_of_key(r->st, key, &rec, &note, e);

	buf_fini(&note);
	if (rc == ERR_CLOSED)
		return rc;
	return pack_str(b, rc == 0 ? str_of(rec.info.id) : STR_NULL);
}

int
rep_serve_range(struct rep *r, const struct rpc_from *from,
    const struct rpc_request *q, struct rpc_answer *a, struct err *e)
{
	struct unpack u = unpack_of(q->args);
	struct range g;
	struct list l;
	uint32_t max;
	bool names;
	size_t i;
	int rc = must_be_active(r, e);

	(void)from;
	wire_unpack_key(&u, g.from);
	wire_unpack_key(&u, g.to);
	max = unpack_u32(&u);
	names = unpack_u8(&u) != 0;
	if (rc == 0)
		rc = unpack_end(&u, e);
	if (rc < 0)
		return rc;
	rc = list_new(&l, e);
	if (rc == 0 && max < l.max)
		l.max = max;
	if (rc == 0)
		rc = list_here(r, &g, &l, e);
	if (rc == 0)
		rc = pack_u8(&a->args, l.n == l.max);
	if (rc == 0)
		rc = pack_u32(&a->args, (uint32_t)l.n);
	for (i = 0; rc == 0 && i < l.n; i++) {
		rc = wire_pack_key(&a->args, l.v[i].key);
		if (rc == 0)
			rc = wire_pack_version(&a->args, &l.v[i].v);
		if (rc == 0 && names)
			rc = pack_name(r, l.v[i].key, &a->args, e);
	}
	mem_free(&l.v);
	return rc;
}

/* --- keys as numbers --- */

static unsigned __int128
number(const uint8_t key[ENGINE_KEY])
{
	unsigned __int128 v = 0;
	size_t i;

	for (i = 0; i < ENGINE_KEY; i++)
		v = v << 8 | key[i];
	return v;
}

static void
bytes_of(unsigned __int128 v, uint8_t key[ENGINE_KEY])
{
	size_t i;

	for (i = ENGINE_KEY; i-- > 0; v >>= 8)
		key[i] = (uint8_t)v;
}

static size_t
split(const struct range *g, struct range ret[WAYS])
{
	unsigned __int128 from = number(g->from), to = number(g->to);
	unsigned __int128 step = (to - from) / WAYS + 1;
	size_t n = 0;

	while (n < WAYS) {
		bytes_of(from, ret[n].from);
		if (n == WAYS - 1 || to - from < step) {
			bytes_of(to, ret[n++].to);
			break;
		}
		bytes_of(from + step - 1, ret[n++].to);
		from += step;
	}
	return n;
}

/* --- asking --- */

static int
ask_digests(struct rep_peer *p, const struct range *g, size_t n,
    struct engine_digest *ret, struct err *e)
{
	struct buf args = BUF_CAP(RPC_ARGS_MAX);
	struct rpc_request q = { .op = RPC_DIGEST };
	struct rpc_reply reply;
	struct unpack u;
	size_t i;
	int rc = pack_u32(&args, (uint32_t)n);

	for (i = 0; rc == 0 && i < n; i++) {
		rc = wire_pack_key(&args, g[i].from);
		if (rc == 0)
			rc = wire_pack_key(&args, g[i].to);
	}
	reply_init(&reply);
	q.args = buf_str(&args);
	if (rc == 0)
		rc = peer_call(p, &q, 30 * p->r->c.peer_ms, &reply, e);
	if (rc == 0) {
		u = unpack_of(buf_str(&reply.args));
		for (i = 0; i < n; i++) {
			ret[i].n = unpack_u64(&u);
			ret[i].sum[0] = unpack_u64(&u);
			ret[i].sum[1] = unpack_u64(&u);
		}
		rc = unpack_end(&u, e);
	}
	reply_fini(&reply);
	buf_fini(&args);
	return rc;
}

static int
unpack_list(struct rpc_reply *reply, struct list *l, struct err *e)
{
	struct unpack u = unpack_of(buf_str(&reply->args));
	uint32_t n;
	struct str id;

	unpack_u8(&u);
	n = unpack_u32(&u);
	if (u.is_bad || n > l->max)
		return err_set(e, ERR_INVALID, "bad answer to RANGE");
	for (l->n = 0; l->n < n && !u.is_bad; l->n++) {
		wire_unpack_key(&u, l->v[l->n].key);
		wire_unpack_version(&u, &l->v[l->n].v);
		id = unpack_str(&u, ENGINE_FILE_ID_MAX - 1);
		if (!u.is_bad)
			memcpy(l->v[l->n].id, id.p, id.len);
		l->v[l->n].id[id.len] = '\0';
	}
	return unpack_end(&u, e);
}

static int
ask_range(struct rep_peer *p, const struct range *g, struct list *l,
    struct err *e)
{
	struct buf args = BUF_CAP(RPC_ARGS_MAX);
	struct rpc_request q = { .op = RPC_RANGE };
	struct rpc_reply reply;
	int rc = wire_pack_key(&args, g->from);

	if (rc == 0)
		rc = wire_pack_key(&args, g->to);
	if (rc == 0)
		rc = pack_u32(&args, (uint32_t)l->max);
	if (rc == 0)
		rc = pack_u8(&args, 1);
	reply_init(&reply);
	q.args = buf_str(&args);
	if (rc == 0)
		rc = peer_call(p, &q, 30 * p->r->c.peer_ms, &reply, e);
	if (rc == 0)
		rc = unpack_list(&reply, l, e);
	reply_fini(&reply);
	buf_fini(&args);
	return rc;
}

/* --- the comparison --- */

/* In order, since ranges are compared in order. */
struct keys {
	uint8_t (*v)[ENGINE_KEY];
	size_t n, cap;
};

static int
by_key(const void *a, const void *b)
{
	return memcmp(a, b, ENGINE_KEY);
}

static bool
keys_have(const struct keys *k, const uint8_t key[ENGINE_KEY])
{
	return k->n > 0 && bsearch(key, k->v, k->n, ENGINE_KEY, by_key) != NULL;
}

/* Beyond KEYS_MAX, or without memory, it is left to the next comparison. */
static void
keys_add(struct keys *k, const uint8_t key[ENGINE_KEY])
{
	size_t cap = k->cap == 0 ? 256 : 2 * k->cap;
	void *more;

	if (k->n == k->cap) {
		more =
		    cap > KEYS_MAX ? NULL : mem_realloc(k->v, cap * ENGINE_KEY);
		if (more == NULL)
			return;
		k->v = more;
		k->cap = cap;
	}
	memcpy(k->v[k->n++], key, ENGINE_KEY);
}

struct compare {
	struct rep_peer *p;
	struct keys *found;      /* the first time: what differs */
	const struct keys *only; /* the second: of these, fetched */
	uint64_t diff, entries;
	struct want *want; /* one leaf's */
};

static int
take_over(struct compare *c, const struct list *there, const bool *is_news,
    struct err *e)
{
	struct rep *r = c->p->r;
	size_t i, n = 0;
	int rc;

	for (i = 0; i < there->n; i++) {
		if (!is_news[i] || there->v[i].id[0] == '\0')
			continue;
		memcpy(c->want[n].id, there->v[i].id, sizeof(c->want[n].id));
		c->want[n].version = there->v[i].v.version;
		c->want[n++].size = there->v[i].v.size;
	}
	if (n == 0 || c->only == NULL)
		return 0;
	rc = fetch_all(c->p, c->want, n, e);
	lock_take(&r->lock);
	r->found_missing += rc == 0 ? n : 0;
	lock_drop(&r->lock);
	return rc;
}

/* True: it counts. */
static bool
differs(struct compare *c, const uint8_t key[ENGINE_KEY])
{
	if (c->only != NULL && !keys_have(c->only, key))
		return false;
	if (c->found != NULL)
		keys_add(c->found, key);
	c->diff++;
	return true;
}

/* Both lists are in order of their keys. */
static void
count_diff(struct compare *c, const struct list *here, const struct list *there,
    bool *is_news)
{
	size_t i = 0, k = 0;
	int cmp;

	while (i < here->n || k < there->n) {
		if (i == here->n)
			cmp = 1;
		else if (k == there->n)
			cmp = -1;
		else
			cmp =
			    memcmp(here->v[i].key, there->v[k].key, ENGINE_KEY);
		if (cmp < 0)
			differs(c, here->v[i].key);
		else if (cmp > 0)
			is_news[k] = differs(c, there->v[k].key);
		else if (there->v[k].v.version != here->v[i].v.version)
			is_news[k] =
			    differs(c, there->v[k].key) &&
			    there->v[k].v.version > here->v[i].v.version;
		i += cmp <= 0;
		k += cmp >= 0;
	}
}

/* What both have listed in full: up to the first list's end that is cut. */
static void
cut_to_common(struct list *a, struct list *b, struct range *g)
{
	const uint8_t *end = NULL;

	if (a->n == a->max)
		end = a->v[a->n - 1].key;
	if (b->n == b->max &&
	    (end == NULL || memcmp(b->v[b->n - 1].key, end, ENGINE_KEY) < 0))
		end = b->v[b->n - 1].key;
	if (end == NULL)
		return;
	memcpy(g->to, end, ENGINE_KEY);
	while (a->n > 0 && memcmp(a->v[a->n - 1].key, g->to, ENGINE_KEY) > 0)
		a->n--;
	while (b->n > 0 && memcmp(b->v[b->n - 1].key, g->to, ENGINE_KEY) > 0)
		b->n--;
}

/* Lists the range on both sides, page by page. */
static int
compare_leaf(struct compare *c, const struct range *whole, struct err *e)
{
	struct rep *r = c->p->r;
	struct range g = *whole;
	struct list here, there;
	bool *is_news;
	int rc = 0;

	for (;;) {
		memcpy(g.to, whole->to, ENGINE_KEY);
		there.v = NULL;
		is_news = mem_zalloc(RANGE_MAX * sizeof(*is_news));
		rc = list_new(&here, e);
		if (rc == 0)
			rc = list_new(&there, e);
		if (rc == 0 && is_news == NULL)
			rc = err_set(e, ERR_NO_MEMORY, NULL);
		if (rc == 0)
			rc = ask_range(c->p, &g, &there, e);
		if (rc == 0)
			rc = list_here(r, &g, &here, e);
		if (rc == 0) {
			cut_to_common(&here, &there, &g);
			count_diff(c, &here, &there, is_news);
			rc = take_over(c, &there, is_news, e);
		}
		mem_free(&here.v);
		mem_free(&there.v);
		mem_free(&is_news);
		if (rc < 0 || memcmp(g.to, whole->to, ENGINE_KEY) == 0)
			return rc;
		bytes_of(number(g.to) + 1, g.from);
	}
}

static int
compare_range(struct compare *c, const struct range *g, unsigned depth,
    struct err *e)
{
	struct rep *r = c->p->r;
	struct range part[WAYS];
	struct engine_digest there[WAYS], here;
	size_t i, n = split(g, part);
	int rc = ask_digests(c->p, part, n, there, e);

	for (i = 0; rc == 0 && i < n; i++) {
		if (rep_is_closing(r))
			return err_set(e, ERR_CLOSED, "stopped");
		rc = r->so->digest(r->st, part[i].from, part[i].to, &here, e);
		if (rc < 0)
			break;
		c->entries += depth == 0 ? here.n : 0;
		if (memcmp(&here, &there[i], sizeof(here)) == 0)
			continue;
		if ((here.n <= LEAF && there[i].n <= LEAF) || depth >= DEPTH)
			rc = compare_leaf(c, &part[i], e);
		else
			rc = compare_range(c, &part[i], depth + 1, e);
	}
	return rc;
}

static int
compare_once(struct compare *c, struct err *e)
{
	struct rep *r = c->p->r;
	struct range all;
	int rc;

	memset(all.from, 0, ENGINE_KEY);
	memset(all.to, 0xff, ENGINE_KEY);
	c->want = mem_alloc(RANGE_MAX * sizeof(*c->want));
	if (c->want == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	rc = compare_range(c, &all, 0, e);
	mem_free(&c->want);
	lock_take(&r->lock);
	r->compared += c->entries;
	lock_drop(&r->lock);
	return rc;
}

int
compare_with(struct rep_peer *p, uint64_t *ret_diff, struct err *e)
{
	struct rep *r = p->r;
	struct keys found = { 0 };
	struct compare first = { .p = p, .found = &found };
	struct compare again = { .p = p, .only = &found };
	int rc = compare_once(&first, e);

	if (rc == 0 && found.n > 0) {
		if (!r->eo->sleep(r->env, AGAIN_MS))
			rc = err_set(e, ERR_CLOSED, "stopped");
		else
			rc = compare_once(&again, e);
	}
	mem_free(&found.v);
	if (rc == 0)
		*ret_diff = again.diff;
	return rc;
}

int
rep_compare_now(struct rep *r, uint64_t *ret_diff, struct err *e)
{
	struct rep_group g;
	uint64_t diff, sum = 0;
	size_t i;
	int rc;

	OBJ_CHECK(r, REP_MAGIC);
	rc = rep_group_get(r, &g, e);
	for (i = 0; rc == 0 && i < g.n_peers; i++) {
		rc = compare_with(g.peer[i], &diff, e);
		sum += rc == 0 ? diff : 0;
	}
	if (rc == 0)
		*ret_diff = sum;
	return rc;
}
