/* storage/replication/install.c - versions into the store here.
 *
 * What is small between members (REP_SMALL) may be a large file to the store
 * (small_file_limit): such a one is written as a stream of one piece. */
#include "storage/replication/rep_int.h"

/* What is there under the name instead of @in's version. */
static void
look(struct rep *r, struct engine_install *in)
{
	struct str id = str_of(in->r->info.id);
	struct engine_version v = { 0 };
	struct err e;

	if (r->so->lookup_many(r->st, &id, 1, &v, &e) < 0)
		return;
	in->version = v.version;
	in->is_tomb = v.known == ENGINE_TOMB;
}

static int
install_stream(struct rep *r, struct engine_install *in, struct err *e)
{
	const struct engine_file_info *f = &in->r->info;
	struct engine_owner o = { .class = f->class,
		.index_id = f->index_id,
		.write_id = f->write_id,
		.note = in->r->note };
	void *up;
	int rc = r->so->upload_begin(r->st, &o, rep_path_of(f->id),
	    in->body.len, &up, e);

	if (rc < 0)
		return rc;
	rc = r->so->upload_write(up, in->body.p, in->body.len, e);
	if (rc < 0) {
		r->so->upload_abort(up);
		return rc;
	}
	rc = r->so->upload_install(up, in->r, in->flags, &in->version, e);
	if (rc == 1 || rc == ERR_EXISTS)
		look(r, in);
	return rc;
}

int
rep_install(struct rep *r, struct engine_install *v, size_t n, struct err *e)
{
	int rc = r->so->install_many(r->st, v, n, e);
	size_t i;

	if (rc != ERR_TOO_BIG)
		return rc;
	for (i = 0, rc = 0; i < n; i++) {
		if (v[i].rc == ERR_TOO_BIG)
			v[i].rc = install_stream(r, &v[i], e);
		if (v[i].rc < rc)
			rc = v[i].rc;
	}
	return rc < 0
	           ? err_set(e, rc, "%s", e->code == rc ? e->msg : err_text(rc))
	           : 0;
}
