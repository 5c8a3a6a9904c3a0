/* tests/unit/object/driver.h - random operations on a store, beside a map that
 * says what must come out. Used over memory and disk, with crashes in between,
 * and for the rebuild. Include fixture.h first. */
#ifndef TESTS_OBJECT_DRIVER_H
#define TESTS_OBJECT_DRIVER_H

#include "lib/fs.h"

#include <stdlib.h>
#include <unistd.h>

#define N_KEYS 36
#define N_UPLOADS 3
#define N_PARTS 6
#define N_HELD 4
#define N_USERS 6

struct mbody { /* counted, so that many may hold the same */
	unsigned refs;
	size_t len;
	char p[];
};

struct mobject {
	struct mbody *body; /* NULL: absent */
	char etag[64];
	char meta[24];
	uint32_t n_parts;
};

struct mupload {
	struct upload u; /* id "": none */
	size_t key;
	char meta[24];
	struct mobject part[N_PARTS + 1];
};

struct mheld { /* an open reader and what it must go on to give */
	struct object_reader *r;
	struct arena *a;
	struct mbody *body;
};

struct muser {
	char name[16], id[65];
	char key[ACCESS_KEY_MAX + 1], secret[SECRET_KEY_MAX + 1];
};

struct driver {
	struct fixture f;
	uint64_t rng;
	struct mobject o[N_KEYS];
	struct mupload up[N_UPLOADS];
	struct mheld held[N_HELD];
	struct muser user[N_USERS]; /* name "": not there */
	char other[N_USERS][16];    /* their buckets; "": none */
	unsigned counts[20];
};

static const char *const driver_keys[N_KEYS] = { "a", "a-", "a/", "a/1", "a/2",
	"a/b/1", "a/b/2", "a/b/c/1", "a0", "b", "b/1", "b/2", "c//1", "c//2",
	"c/1", "d1", "d10", "d11", "d2", "e e", "e%20e", "e+e", "f/x/1",
	"f/x/10", "f/x/2", "f/y", "g\xc3\xa9", "h\x01", "h\x02", "k", "l", "m",
	"n/0123456789/0123456789/0123456789", "z/", "z/z", "\xff\xfe" };

static uint64_t
rnd(struct driver *d, uint64_t below)
{
	d->rng ^= d->rng << 13;
	d->rng ^= d->rng >> 7;
	d->rng ^= d->rng << 17;
	return d->rng % below;
}

static struct mbody *
mbody_new(size_t len)
{
	struct mbody *b = malloc(sizeof(*b) + len + 1);

	assert_non_null(b);
	b->refs = 1;
	b->len = len;
	return b;
}

static struct mbody *
mbody_ref(struct mbody *b)
{
	b->refs++;
	return b;
}

static void
mbody_unref(struct mbody **bp)
{
	if (*bp != NULL && --(*bp)->refs == 0)
		free(*bp);
	*bp = NULL;
}

static struct mbody *
random_body(struct driver *d)
{
	static const size_t sizes[] = { 1, 5, 300, 5000, 20000, 150000,
		400000 };
	size_t len = rnd(d, 12) == 0 ? 0 : rnd(d, sizes[rnd(d, 7)]) + 1;
	struct mbody *b = mbody_new(len);
	uint64_t x = rnd(d, UINT64_MAX);
	size_t i;

	for (i = 0; i < len; i++)
		b->p[i] = (char)((x += 0x9e3779b97f4a7c15u) >> 56);
	return b;
}

static void
body_etag(const struct mbody *b, char ret[64])
{
	uint8_t d[16];

	hash_md5(b->p, b->len, d);
	hex_encode(d, 16, ret);
	ret[32] = '\0';
}

static void
mset(struct mobject *o, struct mbody *b, const char *etag, const char *meta,
    uint32_t n_parts)
{
	mbody_unref(&o->body);
	o->body = b;
	snprintf(o->etag, sizeof(o->etag), "%s", etag);
	snprintf(o->meta, sizeof(o->meta), "%s", meta);
	o->n_parts = n_parts;
}

static struct str
dkey_of(size_t i)
{
	return str_of(driver_keys[i]);
}

/* --- checks --- */

static void
check_object(struct driver *d, size_t i)
{
	const struct mobject *m = &d->o[i];
	struct object_reader *r = NULL;
	struct err e = ERR_INIT;
	struct object o;
	size_t n = 0, off, len;
	char *p;
	int rc;

	rc = object_open(d->f.s, &d->f.b, dkey_of(i), STR_NULL, d->f.a, &o, &r,
	    &e);
	if (m->body == NULL) {
		assert_int_equal(rc, ERR_NO_SUCH_KEY);
		return;
	}
	OK(rc);
	assert_true(str_eqz(o.etag, m->etag));
	assert_int_equal(o.size, m->body->len);
	assert_int_equal(o.n_parts, m->n_parts);
	assert_string_equal(o.owner_id, d->f.user.id);
	assert_int_equal(o.n_headers, 1);
	assert_true(str_eqz(o.headers[0].value, m->meta));
	off = rnd(d, 2) == 0 ? 0 : rnd(d, o.size + 1);
	len = off == 0 ? o.size : rnd(d, o.size + 1);
	p = arena_alloc(d->f.a, len + 1);
	OK(object_read(r, off, p, len, &n, &e));
	assert_int_equal(n, len < o.size - off ? len : o.size - off);
	assert_memory_equal(p, m->body->p + off, n);
	object_close(&r);
}

static void
check_usage(struct driver *d)
{
	struct bucket_usage u;
	struct err e = ERR_INIT;
	uint64_t n = 0, bytes = 0, uploads = 0;
	size_t i;

	for (i = 0; i < N_KEYS; i++)
		if (d->o[i].body != NULL) {
			n++;
			bytes += d->o[i].body->len;
		}
	for (i = 0; i < N_UPLOADS; i++)
		uploads += d->up[i].u.id[0] != '\0';
	OK(bucket_usage(d->f.s, &d->f.b, &u, &e));
	assert_int_equal(u.objects, n);
	assert_int_equal(u.bytes, bytes);
	assert_int_equal(u.uploads, uploads);
}

static void
check_list(struct driver *d)
{
	static const char *const prefixes[] = { "", "a", "a/", "f/", "zz" };
	static const char *const delimiters[] = { "", "/", "1" };
	struct list_spec spec = {
		.prefix = str_of(prefixes[rnd(d, 5)]),
		.delimiter = str_of(delimiters[rnd(d, 3)]),
		.max = (uint32_t)rnd(d, 8) + 1,
	};
	struct err e = ERR_INIT;
	struct list_page page = { 0 };
	struct str last = STR_NULL;
	size_t i, at = 0;

	OK(object_list(d->f.s, &d->f.b, &spec, d->f.a, &page, &e));
	for (i = 0; i < N_KEYS; i++) { /* the keys are sorted */
		const struct list_entry *en;
		struct str key = dkey_of(i), rest;
		ptrdiff_t cut = -1;

		if (d->o[i].body == NULL || !str_has_prefix(key, spec.prefix))
			continue;
		rest = str_skip(key, spec.prefix.len);
		if (spec.delimiter.len > 0)
			cut = str_find(rest, spec.delimiter);
		if (cut >= 0) {
			key = str_sub(key, 0,
			    spec.prefix.len + (size_t)cut + spec.delimiter.len);
			if (str_eq(key, last))
				continue;
			last = key;
		}
		if (at == page.n && page.is_truncated) {
			assert_int_equal(page.n, spec.max);
			spec.after = page.next;
			OK(object_list(d->f.s, &d->f.b, &spec, d->f.a, &page,
			    &e));
			at = 0;
		}
		assert_true(at < page.n);
		en = &page.entries[at++];
		assert_true(str_eq(en->key, key));
		assert_int_equal(en->is_prefix, cut >= 0);
		if (cut < 0) {
			assert_int_equal(en->o.size, d->o[i].body->len);
			assert_true(str_eqz(en->o.etag, d->o[i].etag));
		}
	}
	assert_int_equal(at, page.n);
	assert_false(page.is_truncated);
}

static void
check_users(struct driver *d)
{
	struct err e = ERR_INIT;
	struct access_key k;
	struct user u;
	struct bucket b;
	size_t i;

	for (i = 0; i < N_USERS; i++) {
		const struct muser *m = &d->user[i];
		char name[16];

		snprintf(name, sizeof(name), "user%zu", i);
		if (m->name[0] == '\0') {
			assert_int_equal(user_get(d->f.s, name, &u, &e),
			    ERR_NO_SUCH_USER);
			continue;
		}
		OK(user_get(d->f.s, name, &u, &e));
		assert_string_equal(u.id, m->id);
		OK(key_find(d->f.s, str_of(m->key), &k, &u, &e));
		assert_string_equal(k.secret, m->secret);
		assert_string_equal(u.name, name);
		if (d->other[i][0] != '\0') {
			OK(bucket_get(d->f.s, str_of(d->other[i]), &b, &e));
			assert_string_equal(b.owner_id, m->id);
		}
	}
}

static void
check_held(struct driver *d, size_t i)
{
	struct mheld *h = &d->held[i];
	struct err e = ERR_INIT;
	size_t n;
	char *p;

	if (h->r == NULL)
		return;
	p = malloc(h->body->len + 1);
	OK(object_read(h->r, 0, p, h->body->len + 1, &n, &e));
	assert_int_equal(n, h->body->len);
	assert_memory_equal(p, h->body->p, n);
	free(p);
	object_close(&h->r);
	arena_free(&h->a);
	mbody_unref(&h->body);
}

static void
check_all(struct driver *d)
{
	size_t i;

	for (i = 0; i < N_KEYS; i++)
		check_object(d, i);
	for (i = 0; i < 10; i++)
		check_list(d);
	check_usage(d);
	check_users(d);
	arena_reset(d->f.a);
}

/* --- operations --- */

static void
op_put(struct driver *d)
{
	size_t i = rnd(d, N_KEYS);
	struct mobject *m = &d->o[i];
	struct mbody *b = random_body(d);
	struct write_cond cond = { 0 };
	struct err e = ERR_INIT;
	struct object o = { 0 };
	struct put *p = NULL;
	struct header h;
	char etag[64], meta[24];
	size_t off, n;
	int want = 0, rc;

	body_etag(b, etag);
	snprintf(meta, sizeof(meta), "m%d", (int)rnd(d, 1000));
	h = (struct header){ STR_LIT("x-amz-meta-m"), str_of(meta) };
	o.headers = &h;
	o.n_headers = 1;
	o.etag = str_of(etag);
	switch (rnd(d, 6)) {
	case 0:
		cond.if_none_match_any = true;
		want = m->body != NULL ? ERR_PRECONDITION_FAILED : 0;
		break;
	case 1:
		cond.if_match = STR_LIT("*");
		want = m->body == NULL ? ERR_NO_SUCH_KEY : 0;
		break;
	case 2:
		cond.if_match =
		    m->body != NULL && rnd(d, 2) == 0
			? str_of(m->etag)
			: STR_LIT("00112233445566778899aabbccddeeff");
		want = m->body == NULL ? ERR_NO_SUCH_KEY
		       : str_eqz(cond.if_match, m->etag)
		           ? 0
		           : ERR_PRECONDITION_FAILED;
		break;
	default:
		break;
	}
	OK(put_begin(d->f.s, &d->f.b, dkey_of(i),
	    rnd(d, 2) == 0 ? UINT64_MAX : b->len, &p, &e));
	for (off = 0; off < b->len; off += n) {
		n = b->len - off < 70000 ? b->len - off : 70000;
		OK(put_hold(p, b->p + off, n, &e)); /* where it can be */
	}
	if (rnd(d, 20) == 0) {
		put_abort(&p);
		mbody_unref(&b);
		return;
	}
	rc = put_commit(&p, &d->f.user, &cond, &o, &e);
	assert_int_equal(rc, want);
	if (rc == 0)
		mset(m, b, etag, meta, 0);
	else
		mbody_unref(&b);
}

static void
op_delete(struct driver *d)
{
	size_t i = rnd(d, N_KEYS);
	struct mobject *m = &d->o[i];
	struct str match = STR_NULL;
	struct err e = ERR_INIT;
	int want = 0, rc;

	if (rnd(d, 3) == 0) {
		match = rnd(d, 2) == 0 && m->body != NULL ? str_of(m->etag)
		                                          : STR_LIT("no");
		want = m->body == NULL           ? ERR_NO_SUCH_KEY
		       : str_eqz(match, m->etag) ? 0
		                                 : ERR_PRECONDITION_FAILED;
	}
	rc = object_delete(d->f.s, &d->f.b, dkey_of(i), STR_NULL, match, &e);
	assert_int_equal(rc, want);
	if (rc == 0)
		mbody_unref(&m->body);
}

static void
op_delete_many(struct driver *d)
{
	struct delete_item it[8] = { 0 };
	struct err e = ERR_INIT;
	size_t i, k[8];

	for (i = 0; i < 8; i++) {
		k[i] = rnd(d, N_KEYS);
		it[i].key = dkey_of(k[i]);
	}
	OK(object_delete_many(d->f.s, &d->f.b, it, 8, &e));
	for (i = 0; i < 8; i++) {
		assert_int_equal(it[i].err.code, 0);
		mbody_unref(&d->o[k[i]].body);
	}
}

static void
op_copy(struct driver *d)
{
	size_t from = rnd(d, N_KEYS);
	size_t to = rnd(d, 4) == 0 ? from : rnd(d, N_KEYS);
	struct mobject *m = &d->o[from], was = *m;
	struct object_reader *r = NULL;
	struct err e = ERR_INIT;
	struct object o;
	struct header h;
	char meta[24];

	if (m->body == NULL)
		return;
	OK(object_open(d->f.s, &d->f.b, dkey_of(from), STR_NULL, d->f.a, &o, &r,
	    &e));
	snprintf(meta, sizeof(meta), "c%d", (int)rnd(d, 1000));
	h = (struct header){ STR_LIT("x-amz-meta-m"), str_of(meta) };
	o.headers = &h;
	o.n_headers = 1;
	OK(object_copy(r, &d->f.b, dkey_of(to), &d->f.user, NULL, &o, &e));
	object_close(&r);
	mset(&d->o[to], mbody_ref(was.body), was.etag, meta, was.n_parts);
}

static void
op_upload(struct driver *d)
{
	struct mupload *u = &d->up[rnd(d, N_UPLOADS)];
	struct err e = ERR_INIT;
	struct header h;

	if (u->u.id[0] != '\0')
		return;
	u->key = rnd(d, N_KEYS);
	snprintf(u->meta, sizeof(u->meta), "u%d", (int)rnd(d, 1000));
	h = (struct header){ STR_LIT("x-amz-meta-m"), str_of(u->meta) };
	OK(upload_create(d->f.s, &d->f.b, dkey_of(u->key), &d->f.user, &h, 1,
	    CHECKSUM_NONE, false, &u->u, &e));
}

static void
op_part(struct driver *d)
{
	struct mupload *u = &d->up[rnd(d, N_UPLOADS)];
	uint32_t number = (uint32_t)rnd(d, N_PARTS) + 1;
	struct object_part part = { 0 };
	struct err e = ERR_INIT;
	struct mbody *b = NULL;
	char etag[64];

	if (u->u.id[0] == '\0')
		return;
	if (rnd(d, 3) == 0) {
		size_t from = rnd(d, N_KEYS);
		struct mbody *src = d->o[from].body;
		struct object_reader *r = NULL;
		struct object o;
		uint64_t off;

		if (src == NULL || src->len == 0)
			return;
		off = rnd(d, src->len);
		b = mbody_new(rnd(d, src->len - off) + 1);
		memcpy(b->p, src->p + off, b->len);
		body_etag(b, etag);
		part.etag = str_of(etag);
		OK(object_open(d->f.s, &d->f.b, dkey_of(from), STR_NULL, d->f.a,
		    &o, &r, &e));
		OK(part_copy(r, off, b->len, &d->f.b, dkey_of(u->key),
		    str_of(u->u.id), number, &part, &e));
		object_close(&r);
	} else {
		struct put *p = NULL;

		b = random_body(d);
		body_etag(b, etag);
		part.etag = str_of(etag);
		OK(put_begin(d->f.s, &d->f.b, dkey_of(u->key), b->len, &p, &e));
		OK(put_write(p, b->p, b->len, &e));
		OK(part_commit(&p, str_of(u->u.id), number, &part, &e));
	}
	mset(&u->part[number], b, etag, "", 0);
}

static void
end_upload(struct mupload *u)
{
	size_t i;

	u->u.id[0] = '\0';
	for (i = 0; i <= N_PARTS; i++)
		mbody_unref(&u->part[i].body);
}

static void
op_complete(struct driver *d)
{
	struct mupload *u = &d->up[rnd(d, N_UPLOADS)];
	struct complete_part parts[N_PARTS];
	struct err e = ERR_INIT;
	struct mbody *b;
	struct object o, again;
	char etag[64];
	size_t len = 0, n = 0;
	uint32_t i;

	if (u->u.id[0] == '\0')
		return;
	for (i = 1; i <= N_PARTS; i++)
		if (u->part[i].body != NULL && rnd(d, 5) > 0) {
			parts[n++] = (struct complete_part){ .number = i,
				.etag = str_of(u->part[i].etag) };
			len += u->part[i].body->len;
		}
	if (n == 0)
		return;
	b = mbody_new(len);
	len = 0;
	for (i = 0; i < n; i++) {
		const struct mbody *p = u->part[parts[i].number].body;

		memcpy(b->p + len, p->p, p->len);
		len += p->len;
	}
	OK(upload_complete(d->f.s, &d->f.b, dkey_of(u->key), str_of(u->u.id),
	    parts, n, 0, NULL, UINT64_MAX, NULL, d->f.a, &o, &e));
	OK(upload_complete(d->f.s, &d->f.b, dkey_of(u->key), str_of(u->u.id),
	    parts, n, 0, NULL, UINT64_MAX, NULL, d->f.a, &again, &e));
	assert_int_equal(o.seq, again.seq);
	snprintf(etag, sizeof(etag), "%.*s", (int)o.etag.len, o.etag.p);
	mset(&d->o[u->key], b, etag, u->meta, (uint32_t)n);
	end_upload(u);
}

static void
op_abort(struct driver *d)
{
	struct mupload *u = &d->up[rnd(d, N_UPLOADS)];
	struct err e = ERR_INIT;

	if (u->u.id[0] == '\0')
		return;
	OK(upload_abort(d->f.s, &d->f.b, dkey_of(u->key), str_of(u->u.id), &e));
	end_upload(u);
}

static void
op_hold(struct driver *d)
{
	size_t at = rnd(d, N_HELD), i = rnd(d, N_KEYS);
	struct mheld *h = &d->held[at];
	struct err e = ERR_INIT;
	struct object o;

	check_held(d, at);
	if (d->o[i].body == NULL)
		return;
	h->a = arena_new(64u << 20);
	OK(object_open(d->f.s, &d->f.b, dkey_of(i), STR_NULL, h->a, &o, &h->r,
	    &e));
	h->body = mbody_ref(d->o[i].body);
}

static void
op_user(struct driver *d)
{
	size_t i = rnd(d, N_USERS);
	struct muser *m = &d->user[i];
	struct err e = ERR_INIT;
	struct access_key k;
	struct bucket b;
	struct user u;

	if (m->name[0] == '\0') {
		snprintf(m->name, sizeof(m->name), "user%zu", i);
		OK(user_add(d->f.s, m->name, &u, &e));
		memcpy(m->id, u.id, sizeof(m->id));
		OK(key_add(d->f.s, m->name, NULL, NULL, &k, &e));
		snprintf(m->key, sizeof(m->key), "%s", k.id);
		snprintf(m->secret, sizeof(m->secret), "%s", k.secret);
	} else if (d->other[i][0] != '\0') {
		assert_int_equal(user_remove(d->f.s, m->name, &e), ERR_BUSY);
		OK(bucket_get(d->f.s, str_of(d->other[i]), &b, &e));
		OK(bucket_delete(d->f.s, &b, &e));
		d->other[i][0] = '\0';
	} else if (rnd(d, 2) == 0) {
		OK(user_get(d->f.s, m->name, &u, &e));
		snprintf(d->other[i], sizeof(d->other[i]), "other-%zu", i);
		OK(bucket_create(d->f.s, &u, str_of(d->other[i]), STR_NULL,
		    NULL, &e));
	} else if (rnd(d, 2) == 0) {
		OK(key_remove(d->f.s, m->key, &e));
		OK(key_add(d->f.s, m->name, NULL, NULL, &k, &e));
		snprintf(m->key, sizeof(m->key), "%s", k.id);
		snprintf(m->secret, sizeof(m->secret), "%s", k.secret);
	} else {
		OK(user_remove(d->f.s, m->name, &e));
		m->name[0] = '\0';
	}
}

static void
op_look_after(struct driver *d)
{
	struct err e = ERR_INIT;
	struct sweep_report r;

	if (rnd(d, 4) > 0) {
		OK(store_collect(d->f.s, &e));
		return;
	}
	/* nothing here is ever unknown */
	OK(store_sweep(d->f.s, true, &r, &e));
	assert_int_equal(r.unknown, 0);
}

static void
driver_step(struct driver *d)
{
	uint64_t x = rnd(d, 100);

	if (x < 25)
		op_put(d);
	else if (x < 33)
		op_delete(d);
	else if (x < 35)
		op_delete_many(d);
	else if (x < 48)
		op_copy(d);
	else if (x < 52)
		op_upload(d);
	else if (x < 66)
		op_part(d);
	else if (x < 70)
		op_complete(d);
	else if (x < 71)
		op_abort(d);
	else if (x < 80)
		check_object(d, rnd(d, N_KEYS));
	else if (x < 85)
		check_list(d);
	else if (x < 89)
		op_hold(d);
	else if (x < 92)
		op_user(d);
	else if (x < 96)
		op_look_after(d);
	else
		check_usage(d);
	arena_reset(d->f.a);
}

/* Readers end with their store. */
static void
driver_release(struct driver *d)
{
	size_t i;

	for (i = 0; i < N_HELD; i++)
		check_held(d, i);
}

static void
driver_reopened(struct driver *d, struct store *s)
{
	struct err e = ERR_INIT;

	d->f.s = s;
	OK(bucket_get(s, STR_LIT("bucket"), &d->f.b, &e));
	check_all(d);
}

static void
driver_start(struct driver *d, struct store *s, uint64_t seed)
{
	memset(d, 0, sizeof(*d));
	d->rng = seed * 0x9e3779b97f4a7c15u + 1;
	fixture_setup(&d->f, s);
}

static int
count_s3(void *arg, const struct blob_info *i)
{
	(void)i;
	++*(size_t *)arg;
	return 0;
}

/* Everything goes, and nothing is left: no blob, no record but the users'. */
static void
driver_empty(struct driver *d)
{
	struct err e = ERR_INIT;
	size_t i, n = 0;
	int round;

	driver_release(d);
	for (i = 0; i < N_UPLOADS; i++)
		if (d->up[i].u.id[0] != '\0') {
			OK(upload_abort(d->f.s, &d->f.b, dkey_of(d->up[i].key),
			    str_of(d->up[i].u.id), &e));
			end_upload(&d->up[i]);
		}
	for (i = 0; i < N_KEYS; i++) {
		OK(object_delete(d->f.s, &d->f.b, dkey_of(i), STR_NULL,
		    STR_NULL, &e));
		mbody_unref(&d->o[i].body);
	}
	/* each round may free what the next one finds */
	for (round = 0; round < 50; round++) {
		OK(store_collect(d->f.s, &e));
		n = 0;
		OK(blob_each(store_blob(d->f.s), BLOB_CLASS_S3, count_s3, &n,
		    &e));
		if (n == 0)
			break;
	}
	assert_int_equal(n, 0);
	check_usage(d);
	OK(bucket_delete(d->f.s, &d->f.b, &e));
	arena_free(&d->f.a);
}

#endif
