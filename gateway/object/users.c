/* gateway/object/users.c - users, access keys, the root pair.
 *
 * Users and keys are few: what concerns all keys of a user scans the table. */
#include "gateway/object/store.h"

#include "lib/clock.h"

#include <stdio.h>

struct cached_key {
	struct access_key key;
	struct user user;
};

_Static_assert(sizeof(struct cached_key) ==
		   sizeof(struct access_key) + sizeof(struct user),
    "as store.c sizes the cache");

/* --- records --- */

static int
user_from(struct str name, struct str value, struct arena *a, struct user *ret,
    Rec__User **ret_rec, struct err *e)
{
	Rec__User *r;
	int rc = REC_GET(value, user, a, &r, e);

	if (rc < 0)
		return rc;
	if (name.len > USER_NAME_MAX)
		return err_set(e, ERR_CORRUPT, "user name");
	*ret = (struct user){ .is_root = r->root,
		.is_disabled = r->disabled,
		.created_s = r->created_ns / 1000000000 };
	memcpy(ret->name, name.p, name.len);
	owner_id_text(r->id, ret->id);
	if (ret_rec != NULL)
		*ret_rec = r;
	return 0;
}

static int
key_from(struct str id, struct str value, struct arena *a,
    struct access_key *ret, struct err *e)
{
	Rec__AccessKey *r;
	int rc = REC_GET(value, access_key, a, &r, e);

	if (rc < 0)
		return rc;
	if (id.len > ACCESS_KEY_MAX || strlen(r->secret) > SECRET_KEY_MAX ||
	    strlen(r->user) > USER_NAME_MAX)
		return err_set(e, ERR_CORRUPT, "access key record");
	*ret = (struct access_key){ .is_disabled = r->disabled,
		.created_s = r->created_ns / 1000000000 };
	memcpy(ret->id, id.p, id.len);
	memcpy(ret->secret, r->secret, strlen(r->secret));
	memcpy(ret->user, r->user, strlen(r->user));
	return 0;
}

static int
check_user_name(const char *name, struct err *e)
{
	struct str s = str_of(name);
	size_t i;

	if (s.len == 0 || s.len > USER_NAME_MAX)
		return err_set(e, ERR_INVALID,
		    "a user name has 1 to %d characters", USER_NAME_MAX);
	for (i = 0; i < s.len; i++) {
		char c = s.p[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			(c >= '0' && c <= '9') || strchr("+=,.@_-", c)))
			return err_set(e, ERR_INVALID,
			    "a user name has letters, digits and +=,.@_- only");
	}
	return 0;
}

/* --- users --- */

struct add_user {
	const char *name;
	bool is_root;
	uint8_t id[OWNER_ID_RAW];
	int64_t created_ns;
	struct user ret;
};

static int
add_user_fn(struct txn *t, void *arg, struct err *e)
{
	struct add_user *c = arg;
	Rec__User r = REC__USER__INIT;
	struct key k;
	struct str v;
	bool found;
	int rc;

	key_user(&k, str_of(c->name));
	rc = txn_get(t, &k, &found, &v, e);
	if (rc < 0)
		return rc;
	if (found && c->is_root)
		return user_from(str_of(c->name), v, t->a, &c->ret, NULL, e);
	if (found)
		return err_set(e, ERR_ENTITY_EXISTS, "user %s exists already",
		    c->name);
	r.id = rec_bin(c->id, sizeof(c->id));
	r.root = c->is_root;
	r.created_ns = c->created_ns;
	rc = rec_put(t->a, &r.base, &v, e);
	if (rc == 0)
		rc = user_from(str_of(c->name), v, t->a, &c->ret, NULL, e);
	if (rc == 0)
		rc = txn_put(t, &k, v, e);
	if (rc < 0)
		return rc;
	key_user_id(&k, c->id);
	return txn_put(t, &k, str_of(c->name), e);
}

static int
add_user(struct store *s, const char *name, bool is_root, struct user *ret,
    struct err *e)
{
	struct add_user c = { .name = name,
		.is_root = is_root,
		.created_ns = clock_real_ns() };
	int rc;

	rand_bytes(c.id, sizeof(c.id));
	rc = store_update(s, add_user_fn, &c, NULL, e);
	if (rc < 0)
		return rc;
	cache_bump(s->keys);
	if (ret != NULL)
		*ret = c.ret;
	return 0;
}

int
user_add(struct store *s, const char *name, struct user *ret, struct err *e)
{
	int rc;

	OBJ_CHECK(s, STORE_MAGIC);
	rc = check_user_name(name, e);
	return rc < 0 ? rc : add_user(s, name, false, ret, e);
}

static int
get_user(struct txn *t, const char *name, struct user *ret, Rec__User **ret_rec,
    struct err *e)
{
	struct key k;
	struct str v;
	bool found;
	int rc;

	key_user(&k, str_of(name));
	rc = txn_get(t, &k, &found, &v, e);
	if (rc < 0)
		return rc;
	if (!found)
		return err_set(e, ERR_NO_SUCH_USER, "there is no user %s",
		    name);
	return user_from(str_of(name), v, t->a, ret, ret_rec, e);
}

static int
remove_user_fn(struct txn *t, void *arg, struct err *e)
{
	const char *name = arg;
	struct key from, to, k;
	struct str ids[256], key, value;
	struct access_key ak;
	uint8_t id[OWNER_ID_RAW];
	Rec__User *r;
	struct user u;
	size_t i, n = 0;
	int rc;

	rc = get_user(t, name, &u, &r, e);
	if (rc < 0)
		return rc;
	if (u.is_root)
		return err_set(e, ERR_INVALID, "root cannot be removed");
	if (!owner_id_raw(u.id, id))
		return err_set(e, ERR_CORRUPT, "user without an ID");
	key_owned(&from, id, STR_NULL);
	to = from;
	key_end(&to);
	rc = kv_tx_next(t->tx, key_str(&from), key_str(&to), &key, &value, e);
	if (rc == 0)
		return err_set(e, ERR_BUSY, "user %s owns buckets", name);
	if (rc != ERR_NOT_FOUND)
		return rc;
	key_table(&from, KEY_ACCESS);
	to = from;
	key_end(&to);
	while ((rc = kv_tx_next(t->tx, key_str(&from), key_str(&to), &key,
		    &value, e)) == 0) {
		from.len = 0;
		key_append(&from, key);
		key_append(&from, str_mem("", 1)); /* the next after it */
		rc = key_from(str_skip(key, 1), value, t->a, &ak, e);
		if (rc < 0)
			return rc;
		if (strcmp(ak.user, name) != 0)
			continue;
		if (n == sizeof(ids) / sizeof(ids[0]))
			return err_set(e, ERR_BUSY, "remove its keys first");
		ids[n] = arena_str(t->a, str_of(ak.id));
		if (ids[n++].p == NULL)
			return err_set(e, ERR_NO_MEMORY, NULL);
	}
	if (rc != ERR_NOT_FOUND)
		return rc;
	key_user(&k, str_of(name));
	rc = txn_del(t, &k, e);
	key_user_id(&k, id);
	if (rc == 0)
		rc = txn_del(t, &k, e);
	for (i = 0; i < n && rc == 0; i++) {
		key_access(&k, ids[i]);
		rc = txn_del(t, &k, e);
	}
	return rc;
}

int
user_remove(struct store *s, const char *name, struct err *e)
{
	char copy[USER_NAME_MAX + 1];
	int rc;

	OBJ_CHECK(s, STORE_MAGIC);
	if (check_user_name(name, NULL) < 0)
		return err_set(e, ERR_NO_SUCH_USER, NULL);
	snprintf(copy, sizeof(copy), "%s", name);
	rc = store_update_freeing(s, remove_user_fn, copy, e);
	cache_bump(s->keys);
	return rc;
}

static int
read_user(struct kv_view *v, struct arena *a, const char *name,
    struct user *ret, struct err *e)
{
	struct key k;
	struct str value;
	int rc;

	key_user(&k, str_of(name));
	rc = kv_view_get(v, key_str(&k), &value, e);
	if (rc == ERR_NOT_FOUND)
		return err_set(e, ERR_NO_SUCH_USER, "there is no user %s",
		    name);
	return rc < 0 ? rc : user_from(str_of(name), value, a, ret, NULL, e);
}

int
user_get(struct store *s, const char *name, struct user *ret, struct err *e)
{
	struct kv_view *v;
	struct arena *a;
	int rc;

	OBJ_CHECK(s, STORE_MAGIC);
	if (check_user_name(name, NULL) < 0)
		return err_set(e, ERR_NO_SUCH_USER, NULL);
	a = arena_new(SCRATCH_MAX);
	if (a == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	rc = view_open(s, &v, e);
	if (rc == 0) {
		rc = read_user(v, a, name, ret, e);
		kv_view_close(&v);
	}
	arena_free(&a);
	return rc;
}

/* Every record of a table; @fn gets the key without its first byte. */
static int
each_row(struct store *s, enum key_table table,
    int (*fn)(void *arg, struct kv_view *v, struct arena *a, struct str key,
	struct str value, struct err *e),
    void *arg, struct err *e)
{
	struct arena *a = arena_new(SCRATCH_MAX);
	struct kv_cursor *c = NULL;
	struct kv_view *v = NULL;
	struct key from, to;
	struct str key, value;
	int rc;

	if (a == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	key_table(&from, table);
	to = from;
	key_end(&to);
	rc = view_open(s, &v, e);
	if (rc == 0)
		rc = kv_cursor_open(v, key_str(&from), key_str(&to), &c, e);
	if (rc == 0)
		while ((rc = kv_cursor_next(c, &key, &value, e)) == 1) {
			arena_reset(a);
			rc = fn(arg, v, a, str_skip(key, 1), value, e);
			if (rc != 0)
				break;
		}
	kv_cursor_close(&c);
	kv_view_close(&v);
	arena_free(&a);
	return rc;
}

struct list_users {
	int (*fn)(void *arg, const struct user *u);
	void *arg;
};

static int
list_user(void *arg, struct kv_view *v, struct arena *a, struct str key,
    struct str value, struct err *e)
{
	const struct list_users *c = arg;
	struct user u;
	int rc = user_from(key, value, a, &u, NULL, e);

	(void)v;
	return rc < 0 ? rc : c->fn(c->arg, &u);
}

int
user_list(struct store *s, int (*fn)(void *arg, const struct user *u),
    void *arg, struct err *e)
{
	struct list_users c = { fn, arg };

	OBJ_CHECK(s, STORE_MAGIC);
	return each_row(s, KEY_USER, list_user, &c, e);
}

/* --- keys --- */

static void
random_text(char *dst, size_t n, const char *alphabet)
{
	size_t i, m = strlen(alphabet);

	for (i = 0; i < n;) {
		uint8_t b;

		rand_bytes(&b, 1);
		if (b >= 256 / m * m) /* no bias */
			continue;
		dst[i++] = alphabet[b % m];
	}
	dst[n] = '\0';
}

static bool
is_key_text(const char *z, size_t min, size_t max)
{
	size_t n = 0;

	for (; z[n] != '\0'; n++)
		if (n >= max || z[n] <= ' ' || z[n] >= 127 ||
		    strchr("/,:=&\"\\", z[n]) != NULL)
			return false;
	return n >= min;
}

static bool
is_secret_text(const char *z, size_t min, size_t max)
{
	size_t n = 0;

	for (; z[n] != '\0'; n++)
		if (n >= max || z[n] < ' ' || z[n] >= 127)
			return false;
	return n >= min;
}

struct add_key {
	struct store *s;
	struct access_key k;
	int64_t created_ns;
};

static int
add_key_fn(struct txn *t, void *arg, struct err *e)
{
	struct add_key *c = arg;
	Rec__AccessKey r;
	struct user u;
	struct key k;
	struct str v;
	bool found;
	int rc = get_user(t, c->k.user, &u, NULL, e);

	if (rc < 0)
		return rc;
	key_access(&k, str_of(c->k.id));
	rc = txn_get(t, &k, &found, &v, e);
	if (rc < 0)
		return rc;
	if (found)
		return err_set(e, ERR_ENTITY_EXISTS,
		    "access key %s exists already", c->k.id);
	rec__access_key__init(&r);
	r.user = c->k.user;
	r.secret = c->k.secret;
	r.created_ns = c->created_ns;
	rc = rec_put(t->a, &r.base, &v, e);
	return rc < 0 ? rc : txn_put(t, &k, v, e);
}

static bool
is_root_id(struct store *s, struct str id)
{
	bool yes;

	lock_take(&s->root_lock);
	yes = s->root_key.id[0] != '\0' && str_eqz(id, s->root_key.id);
	lock_drop(&s->root_lock);
	return yes;
}

int
key_add(struct store *s, const char *user, const char *id, const char *secret,
    struct access_key *ret, struct err *e)
{
	static const char upper[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
	static const char any[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				  "abcdefghijklmnopqrstuvwxyz0123456789+/";
	struct add_key c = { .s = s, .created_ns = clock_real_ns() };
	int rc;

	OBJ_CHECK(s, STORE_MAGIC);
	if (check_user_name(user, NULL) < 0)
		return err_set(e, ERR_NO_SUCH_USER, "there is no such user");
	if (id != NULL && !is_key_text(id, 3, ACCESS_KEY_MAX))
		return err_set(e, ERR_INVALID,
		    "an access key has 3 to %d "
		    "printable characters without / , : = & \" \\",
		    ACCESS_KEY_MAX);
	if (secret != NULL && !is_secret_text(secret, 8, SECRET_KEY_MAX))
		return err_set(e, ERR_INVALID,
		    "a secret has 8 to %d printable characters",
		    SECRET_KEY_MAX);
	snprintf(c.k.user, sizeof(c.k.user), "%s", user);
	c.k.created_s = c.created_ns / 1000000000;
	if (id != NULL) {
		snprintf(c.k.id, sizeof(c.k.id), "%s", id);
	} else {
		memcpy(c.k.id, "CK", 2);
		random_text(c.k.id + 2, 18, upper);
	}
	if (secret != NULL)
		snprintf(c.k.secret, sizeof(c.k.secret), "%s", secret);
	else
		random_text(c.k.secret, 40, any);
	if (is_root_id(s, str_of(c.k.id)))
		return err_set(e, ERR_ENTITY_EXISTS,
		    "that is root's access key");
	rc = store_update(s, add_key_fn, &c, NULL, e);
	cache_bump(s->keys);
	if (rc == 0 && ret != NULL)
		*ret = c.k;
	explicit_bzero(&c, sizeof(c));
	return rc;
}

static int
remove_key_fn(struct txn *t, void *arg, struct err *e)
{
	const struct key *k = arg;
	struct str v;
	bool found;
	int rc = txn_get(t, k, &found, &v, e);

	if (rc < 0)
		return rc;
	if (!found)
		return err_set(e, ERR_NO_SUCH_ACCESS_KEY, NULL);
	return txn_del(t, k, e);
}

int
key_remove(struct store *s, const char *id, struct err *e)
{
	struct key k;
	int rc;

	OBJ_CHECK(s, STORE_MAGIC);
	if (strlen(id) > ACCESS_KEY_MAX)
		return err_set(e, ERR_NO_SUCH_ACCESS_KEY, NULL);
	if (is_root_id(s, str_of(id)))
		return err_set(e, ERR_INVALID,
		    "root's key is set by environment and file");
	key_access(&k, str_of(id));
	rc = store_update_freeing(s, remove_key_fn, &k, e);
	cache_bump(s->keys);
	return rc;
}

struct list_keys {
	const char *user;
	int (*fn)(void *arg, const struct access_key *k, const struct user *u);
	void *arg;
};

static int
list_key(void *arg, struct kv_view *v, struct arena *a, struct str key,
    struct str value, struct err *e)
{
	const struct list_keys *c = arg;
	struct access_key k;
	struct user u;
	int rc = key_from(key, value, a, &k, e);

	if (rc < 0 || (c->user != NULL && strcmp(c->user, k.user) != 0))
		return rc;
	rc = read_user(v, a, k.user, &u, e);
	return rc < 0 ? rc : c->fn(c->arg, &k, &u);
}

int
key_list(struct store *s, const char *user,
    int (*fn)(void *arg, const struct access_key *k, const struct user *u),
    void *arg, struct err *e)
{
	struct list_keys c = { user, fn, arg };

	OBJ_CHECK(s, STORE_MAGIC);
	return each_row(s, KEY_ACCESS, list_key, &c, e);
}

static int
read_key(struct store *s, struct str id, struct cached_key *ret, struct err *e)
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
	if (rc < 0)
		goto out;
	key_access(&k, id);
	rc = kv_view_get(v, key_str(&k), &value, e);
	if (rc == ERR_NOT_FOUND)
		rc = err_set(e, ERR_NO_SUCH_ACCESS_KEY, NULL);
	if (rc == 0)
		rc = key_from(id, value, a, &ret->key, e);
	if (rc == 0)
		rc = read_user(v, a, ret->key.user, &ret->user, e);
	if (rc == ERR_NO_SUCH_USER)
		rc = err_set(e, ERR_NO_SUCH_ACCESS_KEY, NULL);
	kv_view_close(&v);
out:
	arena_free(&a);
	return rc;
}

int
key_find(struct store *s, struct str id, struct access_key *ret_key,
    struct user *ret_user, struct err *e)
{
	struct cached_key c;
	uint64_t generation;
	int rc;

	OBJ_CHECK(s, STORE_MAGIC);
	if (id.len == 0 || id.len > ACCESS_KEY_MAX)
		return err_set(e, ERR_NO_SUCH_ACCESS_KEY, NULL);
	if (is_root_id(s, id)) {
		lock_take(&s->root_lock);
		*ret_key = s->root_key;
		*ret_user = s->root_user;
		lock_drop(&s->root_lock);
		return 0;
	}
	if (!cache_get(s->keys, id, &c)) {
		generation = cache_generation(s->keys);
		memset(&c, 0, sizeof(c));
		rc = read_key(s, id, &c, e);
		if (rc < 0)
			return rc;
		cache_put(s->keys, id, &c, generation);
	}
	if (c.key.is_disabled || c.user.is_disabled)
		return err_set(e, ERR_NO_SUCH_ACCESS_KEY, NULL);
	*ret_key = c.key;
	*ret_user = c.user;
	return 0;
}

int
root_set(struct store *s, const char *id, const char *secret, struct err *e)
{
	struct access_key k = { .user = "root" };
	struct user u;
	int rc;

	OBJ_CHECK(s, STORE_MAGIC);
	if (!is_key_text(id, 3, ACCESS_KEY_MAX) ||
	    !is_secret_text(secret, 8, SECRET_KEY_MAX))
		return err_set(e, ERR_CONFIG,
		    "root's access key needs 3 characters and its "
		    "password 8, printable ones");
	rc = user_get(s, "root", &u, e);
	if (rc == ERR_NO_SUCH_USER)
		rc = add_user(s, "root", true, &u, e);
	if (rc < 0)
		return rc;
	snprintf(k.id, sizeof(k.id), "%s", id);
	snprintf(k.secret, sizeof(k.secret), "%s", secret);
	k.created_s = u.created_s;
	lock_take(&s->root_lock);
	s->root_key = k;
	s->root_user = u;
	lock_drop(&s->root_lock);
	explicit_bzero(&k, sizeof(k));
	return 0;
}
