/* Each request to a tracker that was recorded from FastDFS 6.16.1, put to the
 * core: status and length must be the recorded ones, and where nothing in the
 * answer depends on the machine, the bytes too. */
#include "kit.h"

#include "fdfs/ops.h"

#include "lib/bytes.h"

#define VECTORS CREEL_SOURCE_DIR "/tests/unit/fdfs/vectors/"

struct exchange {
	char label[100];
	unsigned command;
	uint8_t req[256], body[256];
	size_t n_req, n_body; /* n_body: as far as it was written down */
	unsigned long len, status;
};

static size_t
unhex(const char *s, uint8_t *dst, size_t max)
{
	size_t n = 0;

	while (n < max && s[0] != '\0' && s[1] != '\0' &&
	       hex_decode(str_mem(s, 2), &dst[n])) {
		s += 2;
		n++;
	}
	return n;
}

/* Those of tracker commands, in order. */
static size_t
load(const char *name, struct exchange *v, size_t max)
{
	char path[512], line[4096], *p;
	size_t n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s%s", VECTORS, name);
	f = fopen(path, "r");
	assert_non_null(f);
	memset(v, 0, max * sizeof(*v));
	while (fgets(line, sizeof(line), f) != NULL) {
		if (strncmp(line, "== ", 3) == 0) {
			assert_true(n < max);
			p = strstr(line, " cmd=");
			assert_non_null(p);
			v[n].command = (unsigned)strtoul(p + 5, NULL, 10);
			*p = '\0';
			snprintf(v[n].label, sizeof(v->label), "%.99s",
			    line + 3);
		} else if (strncmp(line, "   req  ", 8) == 0) {
			v[n].n_req = unhex(line + 8, v[n].req, 256);
		} else if (strncmp(line, "   resp len=", 12) == 0) {
			const struct fdfs_command *c =
			    fdfs_command((uint8_t)v[n].command);

			v[n].len = strtoul(line + 12, NULL, 10);
			v[n].status =
			    strtoul(strstr(line, "status=") + 7, NULL, 10);
			v[n].n_body =
			    unhex(strstr(line, "body=") + 5, v[n].body, 256);
			if (c != NULL && c->servers == FDFS_TRACKER)
				n++;
			else
				memset(&v[n], 0, sizeof(*v));
		}
	}
	fclose(f);
	return n;
}

/* The cluster of the recording: servers 100001 at 127.0.0.3, and so on. */
static struct tcore *
world(unsigned n)
{
	struct tcore *t = kit_new(0);

	for (unsigned i = 1; i <= n; i++) {
		struct cmap_node k = kit_node(1, 1, i, n, n);
		char ip[32];

		for (unsigned m = 0; m < n; m++)
			k.members[m].server_id = 100001 + m;
		k.server_id = 100000 + i;
		snprintf(ip, sizeof(ip), "127.0.0.%u", i + 2);
		kit_addr(&k.inner, ip, 23000);
		snprintf(k.version, sizeof(k.version), "6.16.1");
		kit_hear(t, 10000, k);
	}
	return t;
}

static int
put(struct tcore *t, const struct exchange *x, enum fdfs_form form,
    struct buf *b)
{
	struct tcore_ask a = kit_ask("127.0.0.1");
	struct fdfs_header h;
	struct err e = ERR_INIT;
	size_t head;
	int rc;

	a.form = form;
	kit_addr(&a.local, "127.0.0.2", 22122);
	assert_int_equal(fdfs_header_get(x->req, &h, &e), 0);
	/* What the server loop refuses by the length alone. */
	rc = fdfs_head_len(fdfs_command(h.command), h.len, NULL, &head, &e);
	if (rc < 0)
		return rc;
	assert_int_equal(h.len, x->n_req - FDFS_HEADER);
	return tcore_answer(t, at(10000), &a, &h,
	    str_mem(x->req + FDFS_HEADER, head), b, &e);
}

/* Where we mean to differ; length 0 is any. */
struct other {
	const char *label;
	int rc;
	size_t len;
};

static const struct other *
find_other(const struct other *v, const char *label)
{
	for (; v->label != NULL; v++)
		if (strcmp(label, v->label) == 0)
			return v;
	return NULL;
}

static bool
is_one_of(const char *label, const char *const *v)
{
	for (; *v != NULL; v++)
		if (strcmp(label, *v) == 0)
			return true;
	return false;
}

static void
compare(const struct exchange *x, const struct other *o,
    const char *const *exact, int rc, const struct buf *b)
{
	if (o != NULL) {
		assert_int_equal(rc, o->rc);
		assert_true(o->len == 0 || o->len == b->len);
		return;
	}
	if (fdfs_status_of(rc) != x->status || (rc == 0 && b->len != x->len))
		fail_msg("%s: status %u, %zu bytes; not %lu, %lu", x->label,
		    fdfs_status_of(rc), b->len, x->status, x->len);
	if (is_one_of(x->label, exact) && memcmp(b->p, x->body, x->n_body) != 0)
		fail_msg("%s: other bytes", x->label);
}

static void
check(const char *file, enum fdfs_form form, const struct other *others,
    const char *const *exact)
{
	static struct exchange v[80];
	size_t n = load(file, v, 80), n_exact = 0, n_others = 0;

	assert_int_equal(n, 28);
	for (size_t i = 0; i < n; i++) {
		const struct other *o = find_other(others, v[i].label);
		struct tcore *t = world(1);
		struct buf b = BUF_CAP(1 << 20);

		compare(&v[i], o, exact, put(t, &v[i], form, &b), &b);
		n_exact += is_one_of(v[i].label, exact);
		n_others += o != NULL;
		buf_fini(&b);
		tcore_free(&t);
	}
	/* No label is mistyped. */
	while (*exact != NULL)
		exact++, n_exact--;
	while (others->label != NULL)
		others++, n_others--;
	assert_int_equal(n_exact, 0);
	assert_int_equal(n_others, 0);
}

/* Recorded without server IDs, which Creel always has. */
static void
test_narrow(void **state)
{
	static const struct other others[] = {
		{ "fetch_storage_ids allow_empty", 0,
		    8 + sizeof("100001 group1 127.0.0.3:23000\n") - 1 },
		{ "parameter_req", 0, 0 },
		{ "get_server_id", 0, 6 },
		{ "get_group_name", ERR_NOT_FOUND, 0 },
		{ NULL, 0, 0 },
	};
	static const char *const exact[] = { "query_store_without_group_one",
		"query_store_with_group_one", "query_store_without_group_all",
		"query_store_with_group_all", "query_fetch_one", "query_update",
		"query_fetch_all", "get_leader", NULL };

	(void)state;
	check("vectors-6.16.1.txt", FDFS_NARROW, others, exact);
}

/* A storage's IP is as good as its ID here; a server that the IDs list and
 * that never came is unknown. */
static void
test_wide(void **state)
{
	static const struct other others[] = {
		{ "fetch_storage_ids allow_empty", 0, 0 },
		{ "parameter_req", 0, 0 },
		{ "list_storages one id", 0, 517 },
		{ "delete_storage (active)", ERR_BUSY, 0 },
		{ NULL, 0, 0 },
	};
	static const char *const exact[] = { "query_store_without_group_one",
		"query_fetch_one", "get_storage_status", "get_server_id",
		"get_leader", NULL };

	(void)state;
	check("vectors-6.16.1-trunk-id-ipv6.txt", FDFS_WIDE, others, exact);
}

/* The list of IDs, byte for byte, and in parts. */
static void
test_ids(void **state)
{
	static struct exchange v[80];
	struct buf b = BUF_CAP(1 << 20);
	size_t n = load("vectors-6.16.1-trunk-id-ipv6.txt", v, 80), i = 0;
	struct tcore *t = world(2);

	(void)state;
	while (strcmp(v[i].label, "fetch_storage_ids allow_empty") != 0)
		assert_true(++i < n);
	assert_int_equal(put(t, &v[i], FDFS_WIDE, &b), 0);
	assert_int_equal(b.len, v[i].len);
	assert_memory_equal(b.p, v[i].body, b.len);
	buf_reset(&b);
	v[i].req[FDFS_HEADER + 3] = 1;
	assert_int_equal(put(t, &v[i], FDFS_WIDE, &b), 0);
	assert_int_equal(b.len, 38);
	assert_int_equal(get_be32(b.p), 2);
	assert_int_equal(get_be32(b.p + 4), 1);
	buf_reset(&b);
	v[i].req[FDFS_HEADER + 3] = 3;
	assert_int_equal(put(t, &v[i], FDFS_WIDE, &b), ERR_INVALID);
	buf_fini(&b);
	tcore_free(&t);
}

/* What FastDFS's tools ask for with filters, and the parameters. */
static int
ask(struct tcore *t, uint8_t command, const char *body, size_t len,
    struct buf *b)
{
	struct tcore_ask a = kit_ask("127.0.0.1");
	struct fdfs_header h = { .command = command, .len = len };
	struct err e = ERR_INIT;

	buf_reset(b);
	kit_addr(&a.local, "127.0.0.2", 22122);
	return tcore_answer(t, at(10000), &a, &h, str_mem(body, len), b, &e);
}

static void
test_filters(void **state)
{
	struct buf b = BUF_CAP(1 << 20);
	struct tcore *t = world(2);
	struct fdfs_addr others[2];
	struct id128 id = kit_id(7, 7, 7);

	(void)state;
	kit_addr(&others[0], "127.0.0.2", 22122);
	kit_addr(&others[1], "127.0.0.9", 22122);
	tcore_set_trackers(t, others, 2);
	id = kit_id(200, 1, 1); /* itself */
	tcore_hear_tracker(t, at(10000), 0, &id, STR_LIT("0.1.0"), 5);
	assert_int_equal(ask(t, FDFS_TRACKER_STAT, "\0\0\0", 3, &b), 0);
	assert_int_equal(b.len, 1 + 2 * 90);
	assert_int_equal(ask(t, FDFS_TRACKER_STAT, "\1\1\0", 3, &b), 0);
	assert_int_equal(b.len, 1 + 90);
	assert_int_equal(ask(t, FDFS_TRACKER_STAT, "\2\0\0", 3, &b), 0);
	assert_int_equal(b.len, 1 + 90);
	assert_memory_equal(b.p + 1, "127.0.0.9:22122", 15);
	assert_int_equal(ask(t, FDFS_STORAGE_STAT, "\2=\7\0", 4, &b), 0);
	assert_int_equal(b.len, 6 + 2 * 106);
	assert_int_equal(ask(t, FDFS_STORAGE_STAT, "\2!\7\0", 4, &b), 0);
	assert_int_equal(b.len, 6);
	assert_int_equal(ask(t, FDFS_VOLUME_STAT, "\1\1\0\0", 4, &b), 0);
	assert_int_equal(b.len, 5 + 59);
	assert_int_equal(ask(t, FDFS_VOLUME_STAT, "\4\0\0\0", 4, &b), 0);
	assert_int_equal(b.len, 5);
	assert_int_equal(ask(t, FDFS_PARAMETERS, "", 0, &b), 0);
	assert_true(
	    str_eqz(fdfs_param_get(buf_str(&b), "use_storage_id"), "1"));
	assert_true(
	    str_eqz(fdfs_param_get(buf_str(&b), "response_ip_addr_size"),
		"16"));
	assert_true(
	    str_eqz(fdfs_param_get(buf_str(&b), "use_trunk_file"), "0"));
	buf_fini(&b);
	tcore_free(&t);
}

/* A storage that is no member and away can be deleted, others cannot. */
static void
test_delete(void **state)
{
	struct buf b = BUF_CAP(1 << 20);
	struct tcore *t = world(2);
	struct cmap_node n = kit_node(1, 1, 55, 0, 0);

	(void)state;
	memset(&n.group_id, 0, sizeof(n.group_id));
	kit_hear(t, 6000, n);
	assert_int_equal(ask(t, FDFS_DELETE_STORAGE,
			     "group1\0\0\0\0\0\0\0\0\0\00055", 18, &b),
	    0);
	assert_int_equal(ask(t, FDFS_DELETE_STORAGE,
			     "group1\0\0\0\0\0\0\0\0\0\00055", 18, &b),
	    ERR_NOT_FOUND);
	assert_int_equal(ask(t, FDFS_DELETE_STORAGE,
			     "group1\0\0\0\0\0\0\0\0\0\000100001", 22, &b),
	    ERR_BUSY);
	assert_int_equal(ask(t, FDFS_SET_TRUNK, "group1\0\0\0\0\0\0\0\0\0\0",
			     16, &b),
	    ERR_NOT_IMPLEMENTED);
	buf_fini(&b);
	tcore_free(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_narrow),
		cmocka_unit_test(test_wide),
		cmocka_unit_test(test_ids),
		cmocka_unit_test(test_filters),
		cmocka_unit_test(test_delete),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
