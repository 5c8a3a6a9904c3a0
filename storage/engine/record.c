/* storage/engine/record.c - what is known of a name: the whole record from its
 * needle, or what the index alone says. Threads: any. */
#include "storage/engine/engine_int.h"

#include "lib/hash.h"

int
record_of_needle(const struct needle *n, struct engine_record *ret,
    struct buf *note, struct err *e)
{
	size_t at = note == NULL ? 0 : note->len;
	int rc = note == NULL ? 0 : buf_adds(note, n->note);

	if (rc < 0)
		return err_set(e, rc, NULL);
	*ret = (struct engine_record){ .source = { .node = n->src_node,
					   .incarnation = n->src_inc,
					   .seq = n->src_seq },
		.is_tomb = n->type == NEEDLE_TOMB,
		.note = note == NULL ? STR_NULL
		                     : str_mem(note->p + at, n->note.len) };
	info_of_needle(n, &ret->info);
	return 0;
}

int
engine_lookup_many(struct engine *g, const struct str *ids, size_t n,
    struct engine_version *ret, struct err *e)
{
	OBJ_CHECK(g, ENGINE_MAGIC);
	for (size_t i = 0; i < n; i++) {
		struct fkey key;
		struct loc loc;
		unsigned no;
		int rc;

		ret[i] = (struct engine_version){ .known = ENGINE_UNKNOWN };
		if (engine_key(g, ids[i], &key, &no, NULL) < 0 ||
		    no >= g->n_paths)
			continue;
		rc = findex_get(g->paths[no]->fx, &key, &loc, e);
		if (rc == ERR_NOT_FOUND)
			continue;
		if (rc < 0)
			return rc;
		ret[i] = version_of(&loc);
	}
	return 0;
}

/* A tombstone is a record too. */
static int
load_record(struct path *p, const struct fkey *key, struct str id,
    struct engine_record *ret, struct buf *note, struct err *e)
{
	uint8_t buf[FMT_HDR_MAX];
	struct needle n;
	struct loc loc;
	int rc = engine_load(p, key, &loc, buf, &n, e);

	if (rc == ERR_NOT_FOUND)
		return err_set(e, ERR_NOT_FOUND, "no such file");
	if (rc < 0)
		return rc;
	if ((id.p != NULL && !str_eq(n.id, id)) || n.type != loc.type ||
	    n.version != loc.version)
		return err_set(e, ERR_CORRUPT,
		    "file index: another file is where " STR_FMT " should be",
		    STR_ARG(id));
	return record_of_needle(&n, ret, note, e);
}

int
engine_record(struct engine *g, struct str id, struct engine_record *ret,
    struct buf *note, struct err *e)
{
	struct fkey key;
	unsigned no;

	OBJ_CHECK(g, ENGINE_MAGIC);
	if (engine_key(g, id, &key, &no, NULL) < 0 || no >= g->n_paths)
		return err_set(e, ERR_NOT_FOUND, "no such file");
	return load_record(g->paths[no], &key, id, ret, note, e);
}

int
engine_record_of_key(struct engine *g, const uint8_t key[ENGINE_KEY],
    struct engine_record *ret, struct buf *note, struct err *e)
{
	struct fkey k;

	OBJ_CHECK(g, ENGINE_MAGIC);
	memcpy(k.b, key, sizeof(k.b));
	for (size_t i = 0; i < g->n_paths; i++) {
		int rc = load_record(g->paths[i], &k, STR_NULL, ret, note, e);

		if (rc != ERR_NOT_FOUND)
			return rc;
	}
	return err_set(e, ERR_NOT_FOUND, "no such file");
}

/* --- identity --- */

const struct id128 *
engine_node_id(const struct engine *g)
{
	return &g->ident.node;
}

uint64_t
engine_incarnation(const struct engine *g)
{
	return g->incarnation;
}

struct engine_source
engine_next_source(struct engine *g)
{
	OBJ_CHECK(g, ENGINE_MAGIC);
	return (struct engine_source){ .node = g->ident.node,
		.incarnation = g->incarnation,
		.seq = atomic_fetch_add(&g->seq, 1) + 1 };
}

void
engine_paths_id(const struct engine *g, struct id128 *ret)
{
	struct id128 all[MAX_PATHS + 1];

	all[0] = g->ident.node;
	for (size_t i = 0; i < g->n_paths; i++)
		all[i + 1] = g->paths[i]->ident.path;
	hash_one(HASH_XXHASH128, all, (g->n_paths + 1) * sizeof(all[0]),
	    ret->b);
}
