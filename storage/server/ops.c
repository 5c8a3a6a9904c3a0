/* storage/server/ops.c - operations of Creel's processes: see ops.h. */
#include "storage/server/storage_int.h"

#include "lib/hash.h"
#include "lib/mem.h"

#define SPAN_MIN 65536 /* below, reading costs less than what it saves */

void
storage_file_of(const struct engine_file_info *i, struct sop_file *ret)
{
	*ret = (struct sop_file){ .size = i->size,
		.crc32 = i->crc32,
		.version = i->file_version,
		.created_s = i->created_s,
		.class = i->class,
		.index_id = i->index_id,
		.write_id = i->write_id };
	_Static_assert(sizeof(ret->id) >= sizeof(i->id), "names fit");
	memcpy(ret->id, i->id, sizeof(i->id));
}

int
storage_answer_file(const struct engine_file_info *i, struct rpc_answer *a,
    struct err *e)
{
	struct sop_file f;
	int rc;

	storage_file_of(i, &f);
	rc = sop_file_pack(&f, &a->args);
	return rc < 0 ? err_set(e, rc, "answer") : 0;
}

/* --- writing --- */

static int
store(struct storage *s, const struct rpc_request *q, struct rpc_answer *a,
    struct err *e)
{
	char ext[FDFS_EXT_MAX + 1] = "";
	struct engine_file_info info;
	struct engine_owner o;
	struct sop_store m;
	int rc = sop_store_unpack(q->args, &m, e);

	if (rc < 0)
		return rc;
	if (m.class != ENGINE_CLASS_S3 && m.class != ENGINE_CLASS_INDEX)
		return err_set(e, ERR_INVALID, "class %u", m.class);
	if (!fdfs_ext_is_valid(m.ext))
		return err_set(e, ERR_INVALID, "extension");
	if (m.has_crc && hash_crc32(0, q->body.p, q->body.len) != m.crc32)
		return err_set(e, ERR_INVALID,
		    "the content is not what was sent");
	rc = fence_check(s, &m.index_id, m.index_epoch, e);
	if (rc < 0)
		return rc;
	if (m.ext.len > 0)
		memcpy(ext, m.ext.p, m.ext.len);
	o = (struct engine_owner){ .class = m.class,
		.index_id = m.index_id,
		.write_id = m.write_id,
		.note = m.note };
	rc = rep_put(s->rep, &o, -1, q->body, ext, 0, &info, e);
	return rc == 0 ? storage_answer_file(&info, a, e) : rc;
}

static int
check_classes(struct storage *s, const struct str *ids, size_t n, struct err *e)
{
	struct engine_version *v = mem_alloc((n > 0 ? n : 1) * sizeof(*v));
	int rc;

	if (v == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	rc = engine_lookup_many(s->engine, ids, n, v, e);
	for (size_t i = 0; rc == 0 && i < n; i++)
		if (v[i].known == ENGINE_LIVE &&
		    v[i].class != ENGINE_CLASS_S3 &&
		    v[i].class != ENGINE_CLASS_INDEX)
			rc = err_set(e, ERR_ACCESS_DENIED,
			    STR_FMT " is not a gateway's", STR_ARG(ids[i]));
	mem_free(&v);
	return rc;
}

static int
delete_many(struct storage *s, const struct rpc_request *q, struct err *e)
{
	struct str *room = mem_alloc(SOP_IDS_MAX * sizeof(*room));
	struct sop_delete d;
	int rc;

	if (room == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	rc = sop_delete_unpack(q->args, room, SOP_IDS_MAX, &d, e);
	if (rc == 0)
		rc = fence_check(s, &d.index_id, d.index_epoch, e);
	if (rc == 0)
		rc = check_classes(s, d.ids, d.n, e);
	if (rc == 0 && d.n > 0)
		rc = rep_delete_many(s->rep, d.ids, d.n, e);
	mem_free(&room);
	return rc;
}

static int
fence(struct storage *s, const struct rpc_request *q, struct rpc_answer *a,
    struct err *e)
{
	struct sop_fence f;
	int rc = sop_fence_unpack(q->args, &f, e), packed;

	if (rc < 0)
		return rc;
	rc = fence_check(s, &f.index_id, f.index_epoch, e);
	f.index_epoch = fence_get(s, &f.index_id);
	packed = sop_fence_pack(&f, &a->args);
	if (rc == 0 && packed < 0)
		rc = err_set(e, packed, "answer");
	return rc;
}

/* --- reading --- */

static int
read_body(struct rep_file *f, uint64_t off, size_t len, struct buf *b,
    struct err *e)
{
	size_t n = 0;
	int rc = buf_reserve(b, len);

	if (rc < 0)
		return err_set(e, rc, "answer");
	while (rc == 0 && b->len < len) {
		rc = rep_file_read(f, off + b->len, b->p + b->len, len - b->len,
		    &n, e);
		if (rc < 0 || n == 0)
			break;
		b->len += n;
	}
	return rc;
}

/* What a READ or STAT is for. */
static int
open_asked(struct storage *s, const struct rpc_request *q, struct sop_read *m,
    struct rep_file **ret, struct engine_file_info *info, struct err *e)
{
	int rc = sop_read_unpack(q->args, m, e);

	if (rc == 0)
		rc = rep_file_open(s->rep, m->id, ret, e);
	if (rc == 0)
		rep_file_info(*ret, info);
	return rc;
}

struct span_of {
	struct rep_file *f;
	uint64_t off;
};

static int
span_read(void *arg, size_t at, void *p, size_t len, size_t *ret_len,
    struct err *e)
{
	struct span_of *x = arg;

	return rep_file_read(x->f, x->off + at, p, len, ret_len, e);
}

static void
span_end(void *arg)
{
	struct span_of *x = arg;

	rep_file_close(&x->f);
	mem_free(&x);
}

/* Takes *fp over, if it returns 0. */
static int
give_span(struct rep_file **fp, uint64_t off, size_t len, struct rpc_answer *a)
{
	struct engine_span span;
	struct span_of *x = mem_alloc(sizeof(*x));
	int rc = x == NULL ? ERR_NO_MEMORY
	                   : rep_file_span(*fp, off, len, &span, NULL);

	if (rc == 0)
		rc = pack_seal_sum(&a->args, span.crc32c, len);
	if (rc < 0) {
		mem_free(&x);
		return rc;
	}
	*x = (struct span_of){ *fp, off };
	*fp = NULL;
	a->span =
	    (struct rpc_span){ span.fd, span.off, len, span_read, span_end, x };
	return 0;
}

/* READ, and READ_STORED: what is large leaves from the page cache unread, and the
 * seal is made of the sums of its blocks, which who asks holds against what
 * comes. */
static int
read_file(struct storage *s, const struct rpc_request *q, struct rpc_answer *a,
    struct err *e)
{
	struct engine_file_info info;
	struct rep_file *f = NULL;
	struct sop_read m;
	size_t len = 0;
	int rc = open_asked(s, q, &m, &f, &info, e);

	if (rc < 0)
		return rc;
	if (m.off < info.size)
		len = m.len < info.size - m.off ? m.len
		                                : (size_t)(info.size - m.off);
	rc = storage_answer_file(&info, a, e);
	if (rc == 0 && q->op == RPC_READ_STORED && len >= SPAN_MIN &&
	    give_span(&f, m.off, len, a) == 0)
		return 0;
	if (rc == 0 && len > 0)
		rc = read_body(f, m.off, len, &a->body, e);
	rep_file_close(&f);
	if (rc == 0 && pack_seal(&a->args, buf_str(&a->body)) < 0)
		rc = err_set(e, ERR_NO_MEMORY, "answer");
	return rc;
}

static int
read_now(struct storage *s, const struct rpc_request *q, struct rpc_answer *a,
    struct err *e)
{
	struct sop_read m;
	int rc = sop_read_unpack(q->args, &m, e);

	if (rc < 0)
		return rc;
	if (m.len > SOP_NOW_MAX)
		return err_set(e, ERR_RETRY, "not small");
	rc = buf_reserve(&a->body, m.len);
	if (rc < 0)
		return err_set(e, rc, "answer");
	rc = engine_read_now(s->engine, m.id, m.off, a->body.p, m.len,
	    &a->body.len, e);
	if (rc == 0 && pack_seal(&a->args, buf_str(&a->body)) < 0)
		rc = err_set(e, ERR_NO_MEMORY, "answer");
	return rc;
}

static int
stat_file(struct storage *s, const struct rpc_request *q, struct rpc_answer *a,
    struct err *e)
{
	struct engine_file_info info;
	struct rep_file *f = NULL;
	struct sop_stat st;
	struct sop_read m;
	int rc = open_asked(s, q, &m, &f, &info, e);

	if (rc < 0)
		return rc;
	storage_file_of(&info, &st.file);
	st.note = rep_file_note(f);
	rc = sop_stat_pack(&st, &a->args);
	rep_file_close(&f);
	return rc < 0 ? err_set(e, rc, "answer") : 0;
}

static int
find_write(struct storage *s, const struct rpc_from *from,
    const struct rpc_request *q, struct rpc_answer *a, struct err *e)
{
	struct engine_file_info info;
	struct id128 id;
	int rc = sop_find_unpack(q->args, &id, e);

	if (rc == 0)
		rc = engine_find_write(s->engine, &id, &info, e);
	if (rc == ERR_NOT_FOUND && from->kind != RPC_PEER)
		return find_at_peers(s, q->args, a, e);
	return rc == 0 ? storage_answer_file(&info, a, e) : rc;
}

struct page {
	struct buf files;
	uint32_t n;
};

static int
on_file(void *arg, const struct engine_file_info *i)
{
	struct page *p = arg;
	struct sop_file f;

	storage_file_of(i, &f);
	if (sop_file_pack(&f, &p->files) < 0)
		return ERR_NO_MEMORY;
	p->n++;
	return 0;
}

static int
each(struct storage *s, const struct rpc_request *q, struct rpc_answer *a,
    struct err *e)
{
	struct page p = { .files = BUF_CAP(RPC_ARGS_MAX / 8 * 7) };
	uint8_t cursor[ENGINE_CURSOR] = { 0 };
	struct rep_status st;
	struct sop_page page = { .is_end = false };
	struct sop_word word;
	struct sop_each m;
	int rc = sop_each_unpack(q->args, &m, e);

	if (rc == 0 && m.cursor.len != 0 && m.cursor.len != ENGINE_CURSOR)
		rc = err_set(e, ERR_INVALID, "cursor");
	if (rc < 0)
		return rc;
	rep_status(s->rep, &st);
	if (st.state != FDFS_STATE_ACTIVE)
		return err_set(e, ERR_RETRY, "this node is not ACTIVE: %s",
		    st.reason);
	/* Before it looks: what is missing may come, and make it whole. */
	word = (struct sop_word){ st.is_witness, st.copies };
	if (m.cursor.len > 0)
		memcpy(cursor, m.cursor.p, ENGINE_CURSOR);
	rc = engine_page(s->engine, m.class, cursor, m.max, on_file, &p,
	    &page.is_end, e);
	page.cursor = str_mem(cursor, sizeof(cursor));
	page.n = p.n;
	if (rc == 0)
		rc = sop_page_pack(&page, &a->args);
	if (rc == 0)
		rc = buf_adds(&a->args, buf_str(&p.files));
	if (rc == 0)
		rc = sop_word_pack(&word, &a->args);
	buf_fini(&p.files);
	return rc;
}

/* --- looking after --- */

static uint64_t
count_bad(struct storage *s)
{
	struct engine_path_stat st;
	uint64_t n = 0;

	for (size_t i = 0; i < engine_n_paths(s->engine); i++) {
		engine_path_stat(s->engine, i, &st);
		n += st.scrub_errors;
	}
	return n;
}

static int
tidy(struct storage *s, const struct rpc_request *q, struct rpc_answer *a,
    struct err *e)
{
	struct sop_found found = { 0 };
	enum sop_tidy what;
	uint64_t before;
	int rc = sop_tidy_unpack(q->args, &what, e);

	if (rc < 0)
		return rc;
	before = count_bad(s);
	if (what == SOP_SCRUB)
		rc = engine_scrub_now(s->engine, e);
	else if (what == SOP_COMPACT)
		rc = engine_compact_now(s->engine, e);
	else
		rc = rep_compare_now(s->rep, &found.differ, e);
	if (what == SOP_SCRUB)
		found.bad = count_bad(s) - before;
	return rc == 0 ? sop_found_pack(&found, &a->args) : rc;
}

static int
node_status(struct storage *s, struct rpc_answer *a, struct err *e)
{
	struct sop_status more;
	struct cmap_node n;
	int rc = storage_node_of(s, &n, e);

	if (rc < 0)
		return rc;
	rc = cmap_node_pack(&n, &a->args);
	cmap_node_fini(&n);
	if (rc == 0) {
		rc = storage_status_of(s, &more, e);
		if (rc < 0)
			return rc;
		rc = sop_status_pack(&more, &a->args);
		sop_status_fini(&more);
	}
	return rc < 0 ? err_set(e, rc, "answer") : 0;
}

/* --- all of them --- */

static int
serve_gate(struct storage *s, const struct rpc_from *from,
    const struct rpc_request *q, struct rpc_answer *a, struct err *e)
{
	switch (q->op) {
	case RPC_STORE:
		return store(s, q, a, e);
	case RPC_STORE_BEGIN:
		return stream_begin(s, from, q, a, e);
	case RPC_STORE_DATA:
		return stream_data(s, from, q, a, e);
	case RPC_STORE_COMMIT:
		return stream_commit(s, from, q, a, e);
	case RPC_STORE_ABORT:
		return stream_abort(s, from, q, e);
	case RPC_READ:
	case RPC_READ_STORED:
		return read_file(s, q, a, e);
	case RPC_READ_NOW:
		return read_now(s, q, a, e);
	case RPC_STAT:
		return stat_file(s, q, a, e);
	case RPC_DELETE:
		return delete_many(s, q, e);
	case RPC_FIND_WRITE:
		return find_write(s, from, q, a, e);
	case RPC_EACH:
		return each(s, q, a, e);
	case RPC_FENCE:
		return fence(s, q, a, e);
	case RPC_TIDY:
		return tidy(s, q, a, e);
	case RPC_NODE_STATUS:
		return node_status(s, a, e);
	default:
		return err_set(e, ERR_NOT_IMPLEMENTED,
		    "%s is not for a storage node", rpc_op_name(q->op));
	}
}

int
storage_on_rpc(void *arg, const struct rpc_from *from,
    const struct rpc_request *q, struct rpc_answer *a, struct err *e)
{
	struct storage *s = arg;
	int rc;

	OBJ_CHECK(s, STORAGE_MAGIC);
	if (q->op == RPC_FILE_OP)
		rc = files_serve(s->files, from, q, a, e);
	else if (q->op == RPC_REMOVE)
		rc = rep_serve(s->rep, from, q, a, e);
	else if (q->op >= RPC_MEMBERS && q->op <= RPC_LEAD)
		rc = members_serve(s->members, from, q, a, e);
	else if ((q->op >= RPC_INSTALL && q->op <= RPC_STEP) ||
		 (from->kind == RPC_PEER &&
		     (q->op == RPC_READ || q->op == RPC_STAT)))
		rc = rep_serve(s->rep, from, q, a, e);
	else
		rc = serve_gate(s, from, q, a, e);
	a->epoch = members_epoch(s->members);
	return rc;
}
