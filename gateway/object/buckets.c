/* gateway/object/buckets.c - buckets.
 *
 * A bucket's incarnation is the sequence of the transaction that made it: its
 * objects are keyed by it, so that those of a deleted bucket of the same name
 * are never seen. */
#include "gateway/object/store.h"

#include "lib/clock.h"

#include <stdio.h>

static bool
is_lower_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
 * each part between dots is a DNS label, or virtual hosts would not work. */
bool
bucket_name_is_valid(struct str name)
{
	static const char *const prefixes[] = { "xn--", "sthree-",
		"amzn-s3-demo-" };
	static const char *const suffixes[] = { "-s3alias", "--ol-s3", ".mrap",
		"--x-s3", "--table-s3" };
	size_t i, dots = 0, digits = 0;

	if (name.len < 3 || name.len > 63)
		return false;
	for (i = 0; i < name.len; i++) {
		char c = name.p[i];
		bool at_end = i == 0 || i + 1 == name.len ||
		              name.p[i - 1] == '.' || name.p[i + 1] == '.';

		if (!is_lower_alnum(c) && c != '-' && c != '.')
			return false;
		if (at_end && c == '-')
			return false;
		if (c == '.' &&
		    (i == 0 || i + 1 == name.len || name.p[i + 1] == '.'))
			return false;
		dots += c == '.';
		digits += c >= '0' && c <= '9';
	}
	if (dots == 3 && dots + digits == name.len)
		return false; /* looks like an IPv4 address */
	for (i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
		if (str_has_prefix(name, str_of(prefixes[i])))
			return false;
	for (i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++)
		if (str_has_suffix(name, str_of(suffixes[i])))
			return false;
	return !str_eqz(name, "minio"); /* DESIGN 9 */
}

struct create {
	struct bucket b;
	uint8_t owner[OWNER_ID_RAW];
};

static int
create_fn(struct txn *t, void *arg, struct err *e)
{
	struct create *c = arg;
	struct counters zero = { 0 };
	struct bucket there;
	struct key k, owner;
	struct str v, u;
	bool found;
	int rc;

	key_bucket(&k, str_of(c->b.name));
	rc = txn_get(t, &k, &found, &v, e);
	if (rc < 0)
		return rc;
	if (found) {
		rc = rec_bucket_get(v, str_of(c->b.name), t->a, &there, e);
		if (rc < 0)
			return rc;
		if (strcmp(there.owner_id, c->b.owner_id) == 0)
			return err_set(e, ERR_BUCKET_ALREADY_OWNED_BY_YOU,
			    NULL);
		return err_set(e, ERR_BUCKET_ALREADY_EXISTS, NULL);
	}
	/* A removed user owns nothing. */
	key_user_id(&owner, c->owner);
	rc = txn_get(t, &owner, &found, &u, e);
	if (rc < 0)
		return rc;
	if (!found)
		return err_set(e, ERR_ACCESS_DENIED, "the user is gone");
	c->b.incarnation = c->b.row_seq = kv_tx_seq(t->tx);
	rc = rec_bucket_put(t->a, &c->b, &v, e);
	if (rc == 0)
		rc = txn_put(t, &k, v, e);
	if (rc < 0)
		return rc;
	key_owned(&k, c->owner, str_of(c->b.name));
	rc = txn_put(t, &k, STR_LIT("\1"), e);
	return rc < 0 ? rc : txn_put_counters(t, c->b.incarnation, &zero, e);
}

int
bucket_create(struct store *s, const struct user *owner, struct str name,
    struct str location, struct bucket *ret, struct err *e)
{
	struct create c = { .b = { .created_ns = clock_real_ns() } };
	int rc;

	OBJ_CHECK(s, STORE_MAGIC);
	if (!bucket_name_is_valid(name))
		return err_set(e, ERR_INVALID_BUCKET_NAME, NULL);
	if (location.len >= sizeof(c.b.location) ||
	    (location.len > 0 && memchr(location.p, 0, location.len) != NULL))
		return err_set(e, ERR_ILLEGAL_LOCATION_CONSTRAINT, NULL);
	if (!owner_id_raw(owner->id, c.owner))
		return err_set(e, ERR_INVALID, "owner without a canonical ID");
	memcpy(c.b.name, name.p, name.len);
	if (location.len > 0)
		memcpy(c.b.location, location.p, location.len);
	blob_choose_group(s->blob, location, c.b.group);
	memcpy(c.b.owner_id, owner->id, sizeof(c.b.owner_id));
	memcpy(c.b.owner_name, owner->name, sizeof(c.b.owner_name));
	rc = store_update(s, create_fn, &c, NULL, e);
	cache_bump(s->buckets);
	if (rc == 0 && ret != NULL)
		*ret = c.b;
	return rc;
}

static int
read_bucket(struct store *s, struct str name, struct bucket *ret, struct err *e)
{
	struct kv_view *v = NULL;
	struct str value;
	struct arena *a;
	struct key k;
	int rc;

	a = arena_new(SCRATCH_MAX);
	if (a == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	rc = view_open(s, &v, e);
	if (rc == 0) {
		key_bucket(&k, name);
		rc = kv_view_get(v, key_str(&k), &value, e);
		if (rc == ERR_NOT_FOUND)
			rc = err_set(e, ERR_NO_SUCH_BUCKET, NULL);
		if (rc == 0)
			rc = rec_bucket_get(value, name, a, ret, e);
		kv_view_close(&v);
	}
	arena_free(&a);
	return rc;
}

int
bucket_get(struct store *s, struct str name, struct bucket *ret, struct err *e)
{
	uint64_t generation;
	struct bucket b;
	int rc;

	OBJ_CHECK(s, STORE_MAGIC);
	if (name.len == 0 || name.len >= sizeof(b.name))
		return err_set(e, ERR_NO_SUCH_BUCKET, NULL);
	if (cache_get(s->buckets, name, ret))
		return 0;
	generation = cache_generation(s->buckets);
	memset(&b, 0, sizeof(b));
	rc = read_bucket(s, name, &b, e);
	if (rc < 0)
		return rc;
	cache_put(s->buckets, name, &b, generation);
	*ret = b;
	return 0;
}

static int
delete_fn(struct txn *t, void *arg, struct err *e)
{
	const struct bucket *b = arg;
	uint8_t owner[OWNER_ID_RAW];
	struct counters c;
	struct key from, to, k;
	struct str key, value;
	char inc[8];
	int rc;

	rc = txn_bucket(t, b, e);
	if (rc == 0)
		rc = txn_counters(t, b->incarnation, &c, e);
	if (rc < 0)
		return rc;
	key_objects(&from, b->incarnation, STR_NULL);
	to = from;
	key_end(&to);
	rc = kv_tx_next(t->tx, key_str(&from), key_str(&to), &key, &value, e);
	if (rc == 0)
		return err_set(e, ERR_BUCKET_NOT_EMPTY, NULL);
	if (rc != ERR_NOT_FOUND)
		return rc;
	if (!owner_id_raw(b->owner_id, owner))
		return err_set(e, ERR_CORRUPT, "bucket without an owner");
	key_bucket(&k, str_of(b->name));
	rc = txn_del(t, &k, e);
	key_owned(&k, owner, str_of(b->name));
	if (rc == 0)
		rc = txn_del(t, &k, e);
	key_counters(&k, b->incarnation);
	if (rc == 0)
		rc = txn_del(t, &k, e);
	if (rc == 0 && c.uploads > 0) {
		/* Uploads under way go with it; the collector does that. */
		memcpy(inc, from.b + 1, 8);
		rc = txn_garbage(t, t->now_ns, GARBAGE_BUCKET, str_mem(inc, 8),
		    e);
	}
	return rc;
}

int
bucket_delete(struct store *s, const struct bucket *b, struct err *e)
{
	struct bucket copy = *b;
	int rc;

	OBJ_CHECK(s, STORE_MAGIC);
	rc = store_update_freeing(s, delete_fn, &copy, e);
	cache_bump(s->buckets);
	return rc;
}

/* Names from the owner's index, or of all. */
static int
list_open(struct kv_view *v, const char *owner_id, struct str prefix,
    struct str after, struct kv_cursor **ret, size_t *ret_skip, struct err *e)
{
	uint8_t owner[OWNER_ID_RAW];
	struct key from, to, at;

	if (owner_id[0] == '\0') {
		key_bucket(&from, prefix);
		key_bucket(&at, after);
	} else {
		if (!owner_id_raw(owner_id, owner))
			return err_set(e, ERR_INVALID, "not a canonical ID");
		key_owned(&from, owner, prefix);
		key_owned(&at, owner, after);
	}
	to = from;
	key_end(&to);
	*ret_skip = from.len - prefix.len;
	if (after.len > 0) {
		key_append(&at, str_mem("", 1)); /* the next after it */
		if (str_cmp(key_str(&at), key_str(&from)) > 0)
			from = at;
	}
	if (str_cmp(key_str(&from), key_str(&to)) >= 0)
		from = to;
	return kv_cursor_open(v, key_str(&from), key_str(&to), ret, e);
}

int
bucket_list(struct store *s, const char *owner_id, struct str prefix,
    struct str after, size_t max, struct arena *a, struct bucket **ret,
    size_t *ret_n, bool *ret_more, struct err *e)
{
	struct str key, value, name;
	struct kv_cursor *c = NULL;
	struct kv_view *v = NULL;
	struct bucket *out = NULL;
	size_t n = 0, size = 0, skip;
	bool more = false;
	struct key k;
	int rc;

	OBJ_CHECK(s, STORE_MAGIC);
	if (prefix.len > 63 || after.len > 1024) {
		*ret = NULL;
		*ret_n = 0;
		*ret_more = false;
		return 0;
	}
	rc = view_open(s, &v, e);
	if (rc < 0)
		return rc;
	rc = list_open(v, owner_id, prefix, after, &c, &skip, e);
	while (rc == 0 && (rc = kv_cursor_next(c, &key, &value, e)) == 1) {
		rc = 0;
		if (n == max) {
			more = true;
			break;
		}
		if (n == size) {
			size_t bigger = size == 0 ? 16 : size * 2;
			struct bucket *p = arena_alloc(a, bigger * sizeof(*p));

			if (p == NULL) {
				rc = err_set(e, ERR_NO_MEMORY, NULL);
				break;
			}
			if (n > 0)
				memcpy(p, out, n * sizeof(*p));
			out = p;
			size = bigger;
		}
		name = str_skip(key, skip);
		if (owner_id[0] != '\0') {
			key_bucket(&k, name);
			rc = kv_view_get(v, key_str(&k), &value, e);
		}
		if (rc == 0) {
			memset(&out[n], 0, sizeof(out[n]));
			rc = rec_bucket_get(value, name, a, &out[n++], e);
		}
	}
	kv_cursor_close(&c);
	kv_view_close(&v);
	if (rc < 0)
		return rc;
	*ret = out;
	*ret_n = n;
	*ret_more = more;
	return 0;
}

int
bucket_usage(struct store *s, const struct bucket *b, struct bucket_usage *ret,
    struct err *e)
{
	struct arena *a = arena_new(SCRATCH_MAX);
	struct kv_view *v = NULL;
	Rec__Counters *c;
	struct str value;
	struct key k;
	int rc;

	OBJ_CHECK(s, STORE_MAGIC);
	if (a == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	rc = view_open(s, &v, e);
	if (rc == 0) {
		key_counters(&k, b->incarnation);
		rc = kv_view_get(v, key_str(&k), &value, e);
		if (rc == ERR_NOT_FOUND)
			rc = err_set(e, ERR_NO_SUCH_BUCKET, NULL);
		if (rc == 0)
			rc = REC_GET(value, counters, a, &c, e);
		if (rc == 0)
			*ret = (struct bucket_usage){ .objects = c->objects,
				.bytes = c->bytes,
				.uploads = c->uploads };
		kv_view_close(&v);
	}
	arena_free(&a);
	return rc;
}
