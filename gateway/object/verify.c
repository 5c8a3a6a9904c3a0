/* gateway/object/verify.c - does every object have its bytes?
 *
 * Walks buckets and objects in pages; each object is opened like a GET does, so
 * that the collector leaves it alone while it is looked at. */
#include "gateway/object/get.h"

#include "lib/mem.h"

#define PAGE 500
#define READ_SIZE (1u << 20)

struct verify {
	struct store *s;
	bool deep;
	void (*bad)(void *arg, struct str bucket, struct str key,
	    const struct err *why);
	void *arg;
	uint64_t objects;
	char *buf;
	struct arena *a;
};

static int
check_extents(struct verify *c, struct object_reader *r, struct err *e)
{
	struct extents x;
	size_t i;
	int rc = reader_extents(r, 0, r->size, c->a, &x, e);

	for (i = 0; i < x.n && rc == 0; i++) {
		struct blob_file *f = NULL;

		rc = blob_open(c->s->blob, x.e[i].id, &f, e);
		if (rc == 0 && x.e[i].off + x.e[i].len > blob_size(f))
			rc = err_set(e, ERR_CORRUPT,
			    "blob " STR_FMT " is too short",
			    STR_ARG(x.e[i].id));
		blob_file_close(&f);
	}
	return rc;
}

static int
read_all(struct verify *c, struct object_reader *r, struct err *e)
{
	uint64_t off = 0;
	size_t n;

	while (off < r->size) {
		int rc = object_read(r, off, c->buf, READ_SIZE, &n, e);

		if (rc < 0)
			return rc;
		off += n;
	}
	return 0;
}

/* Only what is not about this object's bytes is negative. */
static int
check_object(struct verify *c, const struct bucket *b, struct str key,
    struct err *e)
{
	struct object_reader *r = NULL;
	struct err why = ERR_INIT;
	struct object o;
	int rc;

	rc = object_open(c->s, b, key, STR_NULL, c->a, &o, &r, &why);
	if (rc == ERR_NO_SUCH_KEY)
		return 0; /* deleted meanwhile */
	c->objects++;
	if (rc == 0)
		rc = c->deep ? read_all(c, r, &why) : check_extents(c, r, &why);
	object_close(&r);
	if (rc == ERR_NO_MEMORY)
		return err_set(e, rc, NULL);
	if (rc < 0)
		c->bad(c->arg, str_of(b->name), key, &why);
	return 0;
}

static int
check_bucket(struct verify *c, const struct bucket *b, struct err *e)
{
	struct arena *pages = arena_new(SCRATCH_MAX);
	struct list_spec spec = { .max = PAGE };
	struct list_page page;
	struct key after = { 0 };
	size_t i;
	int rc;

	if (pages == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	do {
		arena_reset(pages);
		spec.after = key_str(&after);
		rc = object_list(c->s, b, &spec, pages, &page, e);
		for (i = 0; rc == 0 && i < page.n; i++) {
			arena_reset(c->a);
			rc = check_object(c, b, page.entries[i].key, e);
		}
		if (rc == 0 && page.is_truncated) {
			after.len = 0;
			key_append(&after, page.next);
		}
	} while (rc == 0 && page.is_truncated);
	arena_free(&pages);
	return rc;
}

int
store_verify(struct store *s, bool deep,
    void (*bad)(void *arg, struct str bucket, struct str key,
	const struct err *why),
    void *arg, uint64_t *ret_objects, struct err *e)
{
	struct verify c = { .s = s, .deep = deep, .bad = bad, .arg = arg };
	struct arena *names = arena_new(SCRATCH_MAX);
	char after[64] = "";
	bool more = true;
	int rc = 0;

	OBJ_CHECK(s, STORE_MAGIC);
	c.a = arena_new(SCRATCH_MAX);
	c.buf = mem_alloc(READ_SIZE);
	if (names == NULL || c.a == NULL || c.buf == NULL)
		rc = err_set(e, ERR_NO_MEMORY, NULL);
	while (rc == 0 && more) {
		struct bucket *b;
		size_t i, n;

		arena_reset(names);
		rc = bucket_list(s, "", STR_NULL, str_of(after), 100, names, &b,
		    &n, &more, e);
		for (i = 0; rc == 0 && i < n; i++) {
			rc = check_bucket(&c, &b[i], e);
			memcpy(after, b[i].name, sizeof(after));
		}
	}
	arena_free(&names);
	arena_free(&c.a);
	mem_free(&c.buf);
	if (rc == 0)
		*ret_objects = c.objects;
	return rc;
}
