/* gateway/admin/entities.c - users, keys and buckets. */
#include "gateway/admin/internal.h"

static json_t *
user_json(const struct user *u)
{
	return json_pack("{s:s, s:s, s:b, s:b, s:I}", "name", u->name, "id",
	    u->id, "root", (int)u->is_root, "disabled", (int)u->is_disabled,
	    "created", (json_int_t)u->created_s);
}

static json_t *
key_json(const struct access_key *k, bool with_secret)
{
	json_t *j = json_pack("{s:s, s:s, s:b, s:I}", "id", k->id, "user",
	    k->user, "disabled", (int)k->is_disabled, "created",
	    (json_int_t)k->created_s);

	if (j != NULL && with_secret &&
	    json_object_set_new(j, "secret", json_string(k->secret)) != 0) {
		json_decref(j);
		return NULL;
	}
	return j;
}

static int
add_user(void *arg, const struct user *u)
{
	return json_array_append_new(arg, user_json(u)) == 0 ? 0
	                                                     : ERR_NO_MEMORY;
}

static int
add_key(void *arg, const struct access_key *k, const struct user *u)
{
	(void)u;
	return json_array_append_new(arg, key_json(k, false)) == 0
	           ? 0
	           : ERR_NO_MEMORY;
}

/* {name: list}, or the error @rc with the list freed. */
static int
give_list(const char *name, json_t *list, int rc, json_t **ret, struct err *e)
{
	if (rc == 0)
		return admin_give(json_pack("{s:o}", name, list), ret, e);
	json_decref(list);
	return rc;
}

int
admin_user_list(struct admin_call *c, json_t **ret, struct err *e)
{
	json_t *list = json_array();
	int rc = user_list(c->admin->store, add_user, list, e);

	return give_list("users", list, rc, ret, e);
}

int
admin_user_add(struct admin_call *c, json_t **ret, struct err *e)
{
	const char *name = admin_text(c, "name");
	struct user u;
	int rc;

	if (name == NULL)
		return err_set(e, ERR_INVALID, "`name` is missing");
	rc = user_add(c->admin->store, name, &u, e);
	if (rc < 0)
		return rc;
	return admin_give(user_json(&u), ret, e);
}

int
admin_user_remove(struct admin_call *c, json_t **ret, struct err *e)
{
	(void)ret;
	return user_remove(c->admin->store, c->rest.p, e);
}

int
admin_key_list(struct admin_call *c, json_t **ret, struct err *e)
{
	struct str query = c->query, value, param;
	char *user = NULL;
	struct user u;
	json_t *list;
	size_t n;
	int rc;

	while (query.p != NULL) {
		param = str_split(&query, '&');
		if (!str_has_prefix(param, STR_LIT("user=")))
			continue;
		value = str_skip(param, 5);
		user = arena_alloc(http_arena(c->req), value.len + 1);
		if (user == NULL)
			return err_set(e, ERR_NO_MEMORY, NULL);
		if (!pct_decode(value, false, user, &n))
			return err_set(e, ERR_INVALID_URI, NULL);
		user[n] = '\0';
	}
	rc = user == NULL ? 0 : user_get(c->admin->store, user, &u, e);
	if (rc < 0)
		return rc;
	list = json_array();
	rc = key_list(c->admin->store, user, add_key, list, e);
	return give_list("keys", list, rc, ret, e);
}

int
admin_key_add(struct admin_call *c, json_t **ret, struct err *e)
{
	const char *user = admin_text(c, "user");
	struct access_key k;
	int rc;

	if (user == NULL)
		return err_set(e, ERR_INVALID, "`user` is missing");
	if ((admin_text(c, "id") == NULL) != (admin_text(c, "secret") == NULL))
		return err_set(e, ERR_INVALID, "`id` and `secret` go together");
	rc = key_add(c->admin->store, user, admin_text(c, "id"),
	    admin_text(c, "secret"), &k, e);
	if (rc < 0)
		return rc;
	rc = admin_give(key_json(&k, true), ret, e);
	explicit_bzero(&k, sizeof(k));
	return rc;
}

int
admin_key_remove(struct admin_call *c, json_t **ret, struct err *e)
{
	(void)ret;
	return key_remove(c->admin->store, c->rest.p, e);
}

static int
add_buckets(struct admin_call *c, const struct bucket *b, size_t n,
    json_t *list, struct err *e)
{
	struct bucket_usage u;
	json_t *j;
	size_t i;
	int rc;

	for (i = 0; i < n; i++) {
		rc = bucket_usage(c->admin->store, &b[i], &u, e);
		if (rc == ERR_NO_SUCH_BUCKET)
			continue; /* deleted meanwhile */
		if (rc < 0)
			return rc;
		j = json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I}", "name",
		    b[i].name, "owner", b[i].owner_name, "location",
		    b[i].location, "created",
		    (json_int_t)(b[i].created_ns / 1000000000), "objects",
		    (json_int_t)u.objects, "bytes", (json_int_t)u.bytes,
		    "uploads", (json_int_t)u.uploads);
		if (json_array_append_new(list, j) != 0)
			return err_set(e, ERR_NO_MEMORY, NULL);
	}
	return 0;
}

int
admin_bucket_list(struct admin_call *c, json_t **ret, struct err *e)
{
	struct str after = STR_LIT("");
	json_t *list = json_array();
	char last[64] = "";
	struct arena *a;
	struct bucket *b;
	bool more = true;
	size_t n = 0;
	int rc = 0;

	while (rc == 0 && more) {
		a = arena_new(BUCKET_PAGE * 2 * sizeof(struct bucket));
		if (a == NULL) {
			rc = err_set(e, ERR_NO_MEMORY, NULL);
			break;
		}
		rc = bucket_list(c->admin->store, "", STR_LIT(""), after,
		    BUCKET_PAGE, a, &b, &n, &more, e);
		if (rc == 0)
			rc = add_buckets(c, b, n, list, e);
		if (rc == 0 && n > 0) {
			memcpy(last, b[n - 1].name, sizeof(last));
			after = str_of(last);
		}
		if (n == 0)
			more = false;
		arena_free(&a);
	}
	return give_list("buckets", list, rc, ret, e);
}
